package io.annals.axon;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Channels to a server that repeat what may be repeated. */
public final class AnnalsChannel {
  private static final int WINDOW_BYTES = 4 * 1024 * 1024;

  private AnnalsChannel() {}

  /** Without TLS and without a token: for a server on the same machine. */
  public static ManagedChannel open(String address) {
    return open(address, InsecureChannelCredentials.create(), "");
  }

  /**
   * @param address {@code host:port}, or {@code unix:/path} on Linux
   * @param credentials how the connection is secured
   * @param token what the server asks for, as {@code annals tokens} issues it; empty: none
   */
  public static ManagedChannel open(String address, ChannelCredentials credentials, String token) {
    ManagedChannelBuilder<?> builder = Grpc.newChannelBuilder(address, credentials)
        .defaultServiceConfig(retries())
        .enableRetry()
        .keepAliveTime(30, TimeUnit.SECONDS);
    if (address.startsWith("unix:")) builder.overrideAuthority("localhost");
    if (builder instanceof NettyChannelBuilder netty) netty.flowControlWindow(WINDOW_BYTES);
    if (!token.isEmpty()) {
      Metadata headers = new Metadata();
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
      builder.intercept(MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    return builder.build();
  }

  private static Map<String, ?> retries() {
    String name = "/annals/v1/annals_grpc_service_config.json";
    try (InputStream config = AnnalsChannel.class.getResourceAsStream(name)) {
      return new Gson().fromJson(
          new InputStreamReader(config, StandardCharsets.UTF_8), new TypeToken<Map<String, ?>>() {});
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
