package example.courses;

import org.axonframework.messaging.commandhandling.annotation.CommandHandler;
import org.axonframework.messaging.eventhandling.gateway.EventAppender;
import org.axonframework.modelling.annotation.InjectEntity;

/** The decisions. */
class CourseCommands {
  private static final int COURSES_OF_STUDENT_MAX = 3;

  @CommandHandler
  void handle(OpenCourse command, @InjectEntity Enrolment known, EventAppender events) {
    require(!known.isOpen, "the course is open already");
    events.append(new CourseOpened(command.id().course(), command.seats()));
  }

  @CommandHandler
  void handle(Subscribe command, @InjectEntity Enrolment known, EventAppender events) {
    require(known.isOpen, "there is no such course");
    require(!known.isSubscribed, "the student has a seat already");
    require(known.subscribed < known.seats, "the course is full");
    require(known.coursesOfStudent < COURSES_OF_STUDENT_MAX, "the student has three courses");
    events.append(new StudentSubscribed(command.id().course(), command.id().student()));
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) throw new IllegalStateException(otherwise);
  }
}
