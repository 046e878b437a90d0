package example.courses;

import java.util.List;
import java.util.Map;
import org.axonframework.messaging.eventhandling.annotation.EventHandler;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Component;

/**
 * The projection: who takes part in what, in a database of its own. The token is in Annals, not in the
 * same transaction, so that an event may come again after a crash: every statement bears that.
 */
@Component
public class Participants {
  private final JdbcTemplate database;

  Participants(JdbcTemplate database) {
    this.database = database;
    database.execute("create table if not exists course (name varchar primary key, seats int)");
    database.execute("create table if not exists seat (course varchar, student varchar, primary key (course, student))");
  }

  @EventHandler
  void on(CourseOpened event) {
    database.update("merge into course key (name) values (?, ?)", event.course(), event.seats());
  }

  @EventHandler
  void on(StudentSubscribed event) {
    database.update("merge into seat key (course, student) values (?, ?)", event.course(), event.student());
  }

  void empty() {
    database.update("delete from seat");
    database.update("delete from course");
  }

  List<Map<String, Object>> courses() {
    return database.queryForList("""
        select name as "course", seats as "seats", (select count(*) from seat where course = name) as "taken"
        from course order by name""");
  }
}
