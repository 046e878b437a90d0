package example.courses;

import org.axonframework.modelling.annotation.TargetEntityId;

/** Asks to open a course. */
record OpenCourse(@TargetEntityId Enrolment.Id id, int seats) {}
