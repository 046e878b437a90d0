package example.courses;

import org.axonframework.modelling.annotation.TargetEntityId;

/** Asks for a seat. */
record Subscribe(@TargetEntityId Enrolment.Id id) {}
