package example.courses;

import org.axonframework.eventsourcing.annotation.EventTag;

/** A course takes up to so many students. Criteria find it by its tag. */
record CourseOpened(@EventTag(key = "course") String course, int seats) {}
