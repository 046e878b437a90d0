package io.annals.axon.spring;

import org.axonframework.common.configuration.AxonConfiguration;
import org.axonframework.eventsourcing.configuration.EventSourcingConfigurer;
import org.axonframework.eventsourcing.eventstore.EventStorageEngine;
import org.axonframework.messaging.commandhandling.gateway.CommandGateway;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;
import org.axonframework.messaging.eventhandling.gateway.EventGateway;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.TokenStore;
import org.axonframework.messaging.queryhandling.gateway.QueryGateway;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingClass;
import org.springframework.context.SmartLifecycle;
import org.springframework.context.annotation.Bean;

/**
 * The framework itself, for an application without its Spring extension: configured by the beans of
 * type {@link AxonCustomizer}, started when all beans are there, stopped before the first one goes.
 */
@AutoConfiguration(after = AnnalsAutoConfiguration.class)
@ConditionalOnMissingClass("org.axonframework.extension.springboot.autoconfig.AxonAutoConfiguration")
@ConditionalOnMissingBean(AxonConfiguration.class)
public class AxonAutoConfiguration {
  @Bean
  AxonConfiguration axonConfiguration(
      EventStorageEngine engine,
      ObjectProvider<TokenStore> tokens,
      ObjectProvider<EventConverter> converters,
      ObjectProvider<AxonCustomizer> customizers) {
    EventSourcingConfigurer axon = EventSourcingConfigurer.create().registerEventStorageEngine(own -> engine);
    axon.componentRegistry(registry -> {
      tokens.ifAvailable(bean -> registry.registerComponent(TokenStore.class, own -> bean));
      converters.ifAvailable(bean -> registry.registerComponent(EventConverter.class, own -> bean));
    });
    customizers.orderedStream().forEach(bean -> bean.customize(axon));
    return axon.build();
  }

  @Bean
  SmartLifecycle axonLifecycle(AxonConfiguration axon) {
    return new Running(axon);
  }

  @Bean
  CommandGateway commandGateway(AxonConfiguration axon) {
    return axon.getComponent(CommandGateway.class);
  }

  @Bean
  EventGateway eventGateway(AxonConfiguration axon) {
    return axon.getComponent(EventGateway.class);
  }

  @Bean
  QueryGateway queryGateway(AxonConfiguration axon) {
    return axon.getComponent(QueryGateway.class);
  }

  private static final class Running implements SmartLifecycle {
    private final AxonConfiguration axon;
    private volatile boolean running;

    Running(AxonConfiguration axon) {
      this.axon = axon;
    }

    @Override
    public void start() {
      axon.start();
      running = true;
    }

    @Override
    public void stop() {
      axon.shutdown();
      running = false;
    }

    @Override
    public boolean isRunning() {
      return running;
    }
  }
}
