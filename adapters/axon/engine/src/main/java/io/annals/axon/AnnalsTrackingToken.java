package io.annals.axon;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.beans.ConstructorProperties;
import org.axonframework.messaging.eventhandling.processing.streaming.token.GlobalSequenceTrackingToken;

/**
 * A position of the store, with the epoch in which it was read: every event up to it has been dealt
 * with. The server refuses a token of another history of the store (after a restore from a backup).
 */
public final class AnnalsTrackingToken extends GlobalSequenceTrackingToken {
  private final String epoch;

  @JsonCreator
  @ConstructorProperties({"globalIndex", "epoch"})
  public AnnalsTrackingToken(
      @JsonProperty("globalIndex") long globalIndex, @JsonProperty("epoch") String epoch) {
    super(globalIndex);
    this.epoch = epoch == null ? "" : epoch;
  }

  /** The epoch of the position; empty: not known, and not checked. */
  public String getEpoch() {
    return epoch;
  }
}
