package example.courses;

import static org.assertj.core.api.Assertions.assertThat;
import static org.awaitility.Awaitility.await;

import io.annals.axon.Server;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerApplicationContext;
import org.springframework.jdbc.core.JdbcTemplate;

/** The application as its users see it: over HTTP, through a restart, a replay and a killed server. */
class CoursesTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @TempDir private static Path folder;
  private static Server server;
  private final HttpClient http = HttpClient.newHttpClient();

  @BeforeAll
  static void startServer() {
    server = new Server();
  }

  @AfterAll
  static void closeServer() throws IOException {
    server.close();
  }

  @Test
  void seatsAreLimitedAndNothingIsLost() {
    try (var application = started()) {
      assertThat(post(application, "/courses/mathematics?seats=5")).isEqualTo("200 done\n");
      assertThat(post(application, "/courses/mathematics?seats=7")).isEqualTo("422 the course is open already\n");
      assertThat(post(application, "/courses/magic/students/harry")).isEqualTo("422 there is no such course\n");
      // Ten students at once for five seats, while the server is killed.
      try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
        var answers = IntStream.range(0, 10).mapToObj(i -> CompletableFuture.supplyAsync(
            () -> post(application, "/courses/mathematics/students/s" + i), threads)).toList();
        server.kill();
        server.start();
        assertThat(answers.stream().map(CompletableFuture::join).filter("200 done\n"::equals)).hasSize(5);
        assertThat(answers.stream().map(CompletableFuture::join).filter("422 the course is full\n"::equals)).hasSize(5);
      }
      awaitCourses(application, "[{\"course\":\"mathematics\",\"seats\":5,\"taken\":5}]");
      // A replay mends what was damaged.
      application.getBean(JdbcTemplate.class).update("delete from seat where course = 'mathematics'");
      assertThat(post(application, "/replay")).isEqualTo("200 ");
      awaitCourses(application, "[{\"course\":\"mathematics\",\"seats\":5,\"taken\":5}]");
    }
    // A new start goes on from the token: a row that is missing now stays so, what is new comes.
    try (var application = started()) {
      application.getBean(JdbcTemplate.class).update("delete from seat where student = (select min(student) from seat)");
      for (String course : new String[] {"art", "biology", "chemistry"}) {
        assertThat(post(application, "/courses/" + course + "?seats=1")).isEqualTo("200 done\n");
        assertThat(post(application, "/courses/" + course + "/students/ann")).isEqualTo("200 done\n");
      }
      assertThat(post(application, "/courses/drama?seats=1")).isEqualTo("200 done\n");
      assertThat(post(application, "/courses/drama/students/ann")).isEqualTo("422 the student has three courses\n");
      String one = "{\"course\":\"%s\",\"seats\":1,\"taken\":1}";
      awaitCourses(application, "[" + one.formatted("art") + "," + one.formatted("biology") + ","
          + one.formatted("chemistry") + ",{\"course\":\"drama\",\"seats\":1,\"taken\":0}"
          + ",{\"course\":\"mathematics\",\"seats\":5,\"taken\":4}]");
    }
  }

  private static ServletWebServerApplicationContext started() {
    return (ServletWebServerApplicationContext) SpringApplication.run(Courses.class,
        "--server.port=0", "--annals.address=" + server.address(), "--annals.timeout=3m",
        "--spring.datasource.url=jdbc:h2:file:" + folder.resolve("courses"));
  }

  private void awaitCourses(ServletWebServerApplicationContext application, String courses) {
    await().atMost(PATIENCE).untilAsserted(() -> assertThat(send(application, "/courses", "GET")).isEqualTo("200 " + courses));
  }

  private String post(ServletWebServerApplicationContext application, String path) {
    return send(application, path, "POST");
  }

  private String send(ServletWebServerApplicationContext application, String path, String method) {
    URI uri = URI.create("http://127.0.0.1:" + application.getWebServer().getPort() + path);
    try {
      var answer = http.send(HttpRequest.newBuilder(uri).method(method, HttpRequest.BodyPublishers.noBody()).build(), BodyHandlers.ofString());
      return answer.statusCode() + " " + answer.body();
    } catch (IOException | InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }
}
