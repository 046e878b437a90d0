package io.annals.axon.spring;

import io.annals.axon.AggregateBasedAnnalsEventStorageEngine;
import io.annals.axon.AnnalsChannel;
import io.annals.axon.AnnalsEventStorageEngine;
import io.annals.axon.AnnalsTokenStore;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import org.axonframework.conversion.json.JacksonConverter;
import org.axonframework.eventsourcing.eventstore.EventStorageEngine;
import org.axonframework.messaging.eventhandling.conversion.DelegatingEventConverter;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;
import org.axonframework.messaging.eventhandling.processing.streaming.token.store.TokenStore;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

/**
 * Annals as the framework's storage. It comes before the framework's own auto-configurations of a
 * storage, which stand back where there is one; each bean here stands back where you have your own.
 */
@AutoConfiguration(beforeName = {
  "org.axonframework.extension.springboot.autoconfig.AxonServerAutoConfiguration",
  "org.axonframework.extension.springboot.autoconfig.JpaAutoConfiguration",
  "org.axonframework.extension.springboot.autoconfig.JpaEventStoreAutoConfiguration"
})
@EnableConfigurationProperties(AnnalsProperties.class)
public class AnnalsAutoConfiguration {
  @Bean(destroyMethod = "shutdown")
  @ConditionalOnMissingBean(name = "annalsChannel")
  ManagedChannel annalsChannel(AnnalsProperties annals) throws IOException {
    ChannelCredentials credentials = InsecureChannelCredentials.create();
    if (annals.tlsCa() != null) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(annals.tlsCa().toFile()).build();
    } else if (annals.tls()) {
      credentials = TlsChannelCredentials.create();
    }
    return AnnalsChannel.open(annals.address(), credentials, annals.token());
  }

  @Bean
  @ConditionalOnMissingBean
  EventStorageEngine annalsEventStorageEngine(
      @Qualifier("annalsChannel") ManagedChannel channel,
      AnnalsProperties annals,
      ObjectProvider<EventConverter> converters) {
    EventConverter converter = converter(converters);
    return annals.engine() == AnnalsProperties.Engine.AGGREGATE
        ? new AggregateBasedAnnalsEventStorageEngine(channel, converter, annals.contentType(), annals.timeout())
        : new AnnalsEventStorageEngine(channel, converter, annals.contentType(), annals.timeout());
  }

  @Bean
  @ConditionalOnMissingBean
  @ConditionalOnProperty(name = "annals.token-store", matchIfMissing = true)
  TokenStore annalsTokenStore(@Qualifier("annalsChannel") ManagedChannel channel) {
    return new AnnalsTokenStore(channel, new JacksonConverter());
  }

  /** Without one of your own, what the framework itself takes. */
  private static EventConverter converter(ObjectProvider<EventConverter> converters) {
    return converters.getIfAvailable(() -> new DelegatingEventConverter(new JacksonConverter()));
  }
}
