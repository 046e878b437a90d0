package io.annals.axon.spring;

import java.nio.file.Path;
import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Where the server is and how it is used.
 *
 * @param address {@code host:port}, or {@code unix:/path}
 * @param token what the server asks for, as {@code annals tokens} issues it; empty: none
 * @param tls whether the connection is encrypted; implied by {@code tlsCa}
 * @param tlsCa the authorities that may have signed the server's certificate, PEM; absent: Java's own
 * @param timeout how long an append may wait for its answer, and sourcing may take
 * @param engine whether consistency is by tags and criteria, or by aggregate
 * @param tokenStore whether event processors keep their tokens in Annals
 * @param contentType what the converter makes of a payload
 */
@ConfigurationProperties("annals")
public record AnnalsProperties(
    @DefaultValue("127.0.0.1:7420") String address,
    @DefaultValue("") String token,
    @DefaultValue("false") boolean tls,
    Path tlsCa,
    @DefaultValue("30s") Duration timeout,
    @DefaultValue("DCB") Engine engine,
    @DefaultValue("true") boolean tokenStore,
    @DefaultValue("application/json") String contentType) {

  /** The two engines. */
  public enum Engine {
    /** Dynamic consistency boundaries. */
    DCB,
    /** A stream for each aggregate. */
    AGGREGATE
  }
}
