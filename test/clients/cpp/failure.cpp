#include "failure.h"

#include <stdexcept>

#include "annals/v1/errors.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

void must(const grpc::Status& status) {
  if (status.ok()) return;
  throw std::runtime_error(std::to_string(status.error_code()) + ": " + status.error_message());
}

Facts failed(const grpc::Status& status) {
  if (status.ok()) throw std::runtime_error("expected an error");
  Facts found;
  put(found, "code", status.error_code());
  google::rpc::Status rich;
  // The bytes of the trailer `grpc-status-details-bin`.
  if (!rich.ParseFromString(status.error_details())) throw std::runtime_error("bad details");
  for (const auto& detail : rich.details()) describe(found, detail);
  return found;
}

void describe(Facts& found, const google::protobuf::Any& detail) {
  google::rpc::ErrorInfo info;
  annals::v1::AppendConflict conflict;
  annals::v1::EventIdConflict ids;
  if (detail.UnpackTo(&info)) {
    put_text(found, "domain", info.domain());
    put_text(found, "reason", info.reason());
  } else if (detail.UnpackTo(&conflict)) {
    Facts actual;
    for (const auto& stream : conflict.streams()) {
      put(actual, stream.stream(), static_cast<double>(stream.actual_version()));
    }
    put_facts(found, "actual_versions", actual);
    if (conflict.conditions_size() > 0) {
      put(found, "condition_position", static_cast<double>(conflict.conditions(0).position()));
    }
  } else if (detail.UnpackTo(&ids)) {
    put_list(found, "id_positions", {ids.events(0).position()});
    put_text(found, "problem", annals::v1::EventIdProblem_Name(ids.events(0).problem()));
  }
}
