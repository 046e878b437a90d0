package example.courses;

import org.axonframework.eventsourcing.annotation.EventTag;

/** A student has a seat in a course. Criteria find it by either tag. */
record StudentSubscribed(
    @EventTag(key = "course") String course, @EventTag(key = "student") String student) {}
