package example.courses;

import org.axonframework.eventsourcing.annotation.EventCriteriaBuilder;
import org.axonframework.eventsourcing.annotation.EventSourcedEntity;
import org.axonframework.eventsourcing.annotation.EventSourcingHandler;
import org.axonframework.eventsourcing.annotation.reflection.EntityCreator;
import org.axonframework.eventsourcing.annotation.reflection.InjectEntityId;
import org.axonframework.messaging.eventstreaming.EventCriteria;

/** What has to be known of one course and one student to decide: it is of no aggregate. */
@EventSourcedEntity
class Enrolment {
  record Id(String course, String student) {}

  final Id id;
  boolean isOpen;
  int seats;
  int subscribed;
  int coursesOfStudent;
  boolean isSubscribed;

  @EntityCreator
  Enrolment(@InjectEntityId Id id) {
    this.id = id;
  }

  /** The decision holds as long as no other event matches this: Annals checks it as it stores. */
  @EventCriteriaBuilder
  static EventCriteria criteria(Id id) {
    return EventCriteria.havingTags("course", id.course())
        .or().havingTags("student", id.student());
  }

  @EventSourcingHandler
  void on(CourseOpened event) {
    isOpen = true;
    seats = event.seats();
  }

  @EventSourcingHandler
  void on(StudentSubscribed event) {
    boolean here = event.course().equals(id.course());
    boolean own = event.student().equals(id.student());
    if (here) subscribed++;
    if (own) coursesOfStudent++;
    if (here && own) isSubscribed = true;
  }
}
