package example.courses;

import io.annals.axon.spring.AxonCustomizer;
import org.axonframework.eventsourcing.configuration.EventSourcedEntityModule;
import org.axonframework.messaging.commandhandling.configuration.CommandHandlingModule;
import org.axonframework.messaging.eventhandling.configuration.EventProcessorModule;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;

/** Courses with limited seats, and students who take at most three of them. */
@SpringBootApplication
public class Courses {
  static final String PROJECTION = "participants";

  public static void main(String[] arguments) {
    SpringApplication.run(Courses.class, arguments);
  }

  @Bean
  AxonCustomizer writing() {
    return axon -> axon
        .registerEntity(EventSourcedEntityModule.autodetected(Enrolment.Id.class, Enrolment.class))
        .registerCommandHandlingModule(CommandHandlingModule.named("courses")
            .commandHandlers()
            .annotatedCommandHandlingComponent(own -> new CourseCommands()));
  }

  @Bean
  AxonCustomizer reading(Participants participants) {
    return axon -> axon.messaging(messaging -> messaging.eventProcessing(processing ->
        processing.pooledStreaming(streaming -> streaming.processor(EventProcessorModule
            .pooledStreaming(PROJECTION)
            .eventHandlingComponents(components -> components.autodetected(own -> participants))
            .notCustomized()))));
  }
}
