package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.annals.v1.AppendConflict;
import io.annals.v1.EventIdConflict;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Errors as the contract types them: the code, `ErrorInfo`, then the details. */
final class Failure {
  private Failure() {}

  /** Runs a call that must fail, and describes how it did. */
  static Map<String, Object> of(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException error) {
      Map<String, Object> found = new LinkedHashMap<>();
      found.put("code", error.getStatus().getCode().value());
      Status status = StatusProto.fromThrowable(error);
      if (status != null) status.getDetailsList().forEach(detail -> describe(found, detail));
      return found;
    }
    throw new AssertionError("expected an error");
  }

  static void describe(Map<String, Object> found, Any detail) {
    try {
      if (detail.is(ErrorInfo.class)) {
        ErrorInfo info = detail.unpack(ErrorInfo.class);
        found.put("domain", info.getDomain());
        found.put("reason", info.getReason());
      } else if (detail.is(AppendConflict.class)) {
        AppendConflict conflict = detail.unpack(AppendConflict.class);
        Map<String, Object> actual = new LinkedHashMap<>();
        conflict.getStreamsList().forEach(s -> actual.put(s.getStream(), s.getActualVersion()));
        found.put("actual_versions", actual);
        if (conflict.getConditionsCount() > 0) {
          found.put("condition_position", conflict.getConditions(0).getPosition());
        }
      } else if (detail.is(EventIdConflict.class)) {
        EventIdConflict ids = detail.unpack(EventIdConflict.class);
        found.put("id_positions", List.of(ids.getEvents(0).getPosition()));
        found.put("problem", ids.getEvents(0).getProblem().name());
      }
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalStateException(error);
    }
  }
}
