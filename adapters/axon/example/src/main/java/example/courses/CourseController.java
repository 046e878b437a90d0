package example.courses;

import java.util.List;
import java.util.Map;
import org.axonframework.common.configuration.AxonConfiguration;
import org.axonframework.eventsourcing.eventstore.AppendEventsTransactionRejectedException;
import org.axonframework.messaging.commandhandling.gateway.CommandGateway;
import org.axonframework.messaging.eventhandling.processing.streaming.StreamingEventProcessor;
import org.axonframework.messaging.eventhandling.processing.streaming.segmenting.Segment;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.TokenStore;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Commands, the projection and its replay over HTTP. */
@RestController
class CourseController {
  private static final int TRIES_MAX = 10;

  private final CommandGateway commands;
  private final Participants participants;
  private final AxonConfiguration axon;
  private final TokenStore tokens;

  CourseController(
      CommandGateway commands, Participants participants, AxonConfiguration axon, TokenStore tokens) {
    this.commands = commands;
    this.participants = participants;
    this.axon = axon;
    this.tokens = tokens;
  }

  @PostMapping("/courses/{course}")
  ResponseEntity<String> open(@PathVariable String course, @RequestParam int seats) {
    return decided(new OpenCourse(new Enrolment.Id(course, ""), seats));
  }

  @PostMapping("/courses/{course}/students/{student}")
  ResponseEntity<String> subscribe(@PathVariable String course, @PathVariable String student) {
    return decided(new Subscribe(new Enrolment.Id(course, student)));
  }

  @GetMapping("/courses")
  List<Map<String, Object>> courses() {
    return participants.courses();
  }

  /**
   * Empties the projection and builds it again from the first event. Axon 5.0 has no `resetTokens` yet:
   * a processor without tokens begins with the first event.
   */
  @PostMapping("/replay")
  void replay() {
    StreamingEventProcessor processor = processor();
    processor.shutdown().join();
    for (Segment segment : tokens.fetchSegments(Courses.PROJECTION, null).join()) {
      tokens.fetchToken(Courses.PROJECTION, segment.getSegmentId(), null).join();
      tokens.deleteToken(Courses.PROJECTION, segment.getSegmentId(), null).join();
    }
    participants.empty();
    processor.start().join();
  }

  private StreamingEventProcessor processor() {
    return axon.getModuleConfigurations().stream()
        .flatMap(module -> module.getComponents(StreamingEventProcessor.class).values().stream())
        .filter(processor -> processor.name().equals(Courses.PROJECTION))
        .findFirst().orElseThrow();
  }

  /** A conflict means that somebody else was faster: the command is decided again, on what is now. */
  private ResponseEntity<String> decided(Object command) {
    for (int tries = 1; ; tries++) {
      try {
        commands.sendAndWait(command);
        return ResponseEntity.ok("done\n");
      } catch (RuntimeException error) {
        Throwable cause = rootOf(error);
        if (cause instanceof IllegalStateException) {
          return ResponseEntity.unprocessableEntity().body(cause.getMessage() + "\n");
        }
        if (!isConflict(error) || tries == TRIES_MAX) throw error;
      }
    }
  }

  private static boolean isConflict(Throwable error) {
    if (error == null) return false;
    return error instanceof AppendEventsTransactionRejectedException || isConflict(error.getCause());
  }

  private static Throwable rootOf(Throwable error) {
    return error.getCause() == null ? error : rootOf(error.getCause());
  }
}
