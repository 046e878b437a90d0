package io.annals.axon.spring;

import org.axonframework.eventsourcing.configuration.EventSourcingConfigurer;

/** A bean that registers what an application has: entities, handlers, event processors. */
@FunctionalInterface
public interface AxonCustomizer {
  void customize(EventSourcingConfigurer axon);
}
