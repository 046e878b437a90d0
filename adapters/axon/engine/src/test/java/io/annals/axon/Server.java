package io.annals.axon;

import io.grpc.ManagedChannel;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.axonframework.conversion.json.JacksonConverter;
import org.axonframework.messaging.eventhandling.conversion.DelegatingEventConverter;
import org.axonframework.messaging.eventhandling.conversion.EventConverter;

/** A server as people run it: a process, a folder and a port; it can be killed and started again. */
public final class Server implements AutoCloseable {
  static final EventConverter CONVERTER = new DelegatingEventConverter(new JacksonConverter());

  private final Path folder;
  private final int port;
  private Process process;
  private ManagedChannel channel;

  /** The environment variable ANNALS_SERVE is its command; by default {@code annals serve}. */
  public Server() {
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
      folder = Files.createTempDirectory("annals-axon-");
    } catch (IOException error) {
      throw new IllegalStateException(error);
    }
    start();
  }

  public void start() {
    String command = System.getenv().getOrDefault("ANNALS_SERVE", "annals serve");
    List<String> words = new ArrayList<>(List.of(command.split(" ")));
    words.addAll(List.of("--data", folder.resolve("data").toString(), "--port", String.valueOf(port)));
    try {
      process = new ProcessBuilder(words).redirectError(ProcessBuilder.Redirect.DISCARD).start();
      Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
      var said = process.inputReader();
      for (String line = said.readLine(); line != null; line = said.readLine()) {
        if (line.contains(" serves on ")) return;
      }
      throw new IllegalStateException("`" + command + "` did not serve");
    } catch (IOException error) {
      throw new IllegalStateException("set ANNALS_SERVE to the command that starts the server", error);
    }
  }

  /** Without warning, as the power fails. */
  public void kill() {
    process.destroyForcibly().onExit().join();
  }

  public String address() {
    return "127.0.0.1:" + port;
  }

  ManagedChannel channel() {
    if (channel == null) channel = AnnalsChannel.open(address());
    return channel;
  }

  @Override
  public void close() throws IOException {
    if (channel != null) channel.shutdownNow();
    process.destroy();
    process.onExit().join();
    try (Stream<Path> files = Files.walk(folder)) {
      files.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
    }
  }
}
