// What Java's client of Server-Sent Events sees of a stream through a restart of the server. It
// connects anew by itself, with the last id that it has seen. Prints a line of JSON.
package example;

import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import com.launchdarkly.eventsource.RetryDelayStrategy;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

public final class Follow {
  private static final String base = "http://" + System.getenv("ANNALS_ADDRESS");
  private static final Pattern type = Pattern.compile("\"type\":\"([^\"]+)\"");

  public static void main(String[] arguments) throws Exception {
    append("A");
    append("B");
    List<String> seen = new ArrayList<>();
    boolean hasRestarted = false;
    URI uri = URI.create(base + "/v1/subscribe?stream=java-followed");
    EventSource.Builder builder =
        new EventSource.Builder(uri)
            .errorStrategy(ErrorStrategy.alwaysContinue())
            .retryDelayStrategy(RetryDelayStrategy.defaultStrategy().maxDelay(2, TimeUnit.SECONDS));
    try (EventSource source = builder.build()) {
      for (MessageEvent event : source.messages()) {
        if (event.getEventName().equals("message")) {
          Matcher found = type.matcher(event.getData());
          seen.add(found.find() ? found.group(1) : event.getData());
        }
        if (seen.contains("C")) break;
        if (event.getEventName().equals("caught_up") && !hasRestarted) {
          hasRestarted = true;
          restart();
          append("C");
        }
      }
    }
    String names = seen.stream().map(name -> "\"" + name + "\"").collect(Collectors.joining(","));
    System.out.println("{\"what\":\"okhttp-eventsource\",\"seen\":[" + names + "]}");
    System.out.flush();
    // The library's threads end a minute later by themselves.
    System.exit(0);
  }

  private static void append(String name) throws Exception {
    String body = "{\"stream\":\"java-followed\",\"events\":[{\"type\":\"" + name + "\"}]}";
    HttpRequest request =
        HttpRequest.newBuilder(URI.create(base + "/annals.v1.EventStoreService/Append"))
            .header("content-type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
    int status = HttpClient.newHttpClient().send(request, BodyHandlers.discarding()).statusCode();
    if (status != 200) throw new IllegalStateException("HTTP status " + status);
  }

  private static void restart() throws Exception {
    System.out.println("RESTART");
    System.out.flush();
    new BufferedReader(new InputStreamReader(System.in)).readLine();
  }
}
