// The scripted conversation of test/clients/conversation.ts, by a generated C++ client.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "annals/v1/event_store_service.grpc.pb.h"
#include "failure.h"

using namespace annals::v1;

namespace {

using Events = std::vector<RecordedEvent>;
using Messages = std::unique_ptr<grpc::ClientReader<SubscribeResponse>>;

std::unique_ptr<EventStoreService::Stub> client;

// A call that ends within a bounded time.
struct Call : grpc::ClientContext {
  explicit Call(int seconds = 60) {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
  }
};

NewEvent event(int number, const std::string& type, const std::string& tag = "") {
  char id[37];
  std::snprintf(id, sizeof id, "00000000-0000-4000-8000-%012d", number);
  NewEvent made;
  made.set_id(id);
  made.set_type(type);
  if (!tag.empty()) made.add_tags(tag);
  return made;
}

AppendRequest request_to(const std::string& stream, const NewEvent& only) {
  AppendRequest request;
  request.set_stream(stream);
  *request.add_events() = only;
  return request;
}

AppendRequest first_request() {
  NewEvent placed = event(1, "OrderPlaced", "customer:c1");
  (*placed.mutable_metadata())["user"] = "ada";
  placed.set_content_type("application/json");
  placed.set_data(R"({"total":10})");
  NewEvent paid = event(2, "OrderPaid", "customer:c1");
  paid.set_content_type("application/json");
  paid.set_data(R"({"paid":true})");
  AppendRequest request = request_to("order-1", placed);
  request.set_expected_version(0);
  *request.add_events() = paid;
  return request;
}

QueryItem placed_by_first_customer() {
  QueryItem item;
  item.add_types("OrderPlaced");
  item.add_tags("customer:c1");
  return item;
}

std::vector<uint64_t> positions(const Events& events) {
  std::vector<uint64_t> found;
  for (const auto& event : events) found.push_back(event.position());
  return found;
}

std::vector<uint64_t> versions(const Events& events) {
  std::vector<uint64_t> found;
  for (const auto& event : events) found.push_back(event.version());
  return found;
}

Facts appended(const AppendResponse& answer) {
  Facts found, streams;
  put_list(found, "positions", {answer.first_position(), answer.last_position()});
  for (const auto& stream : answer.streams()) {
    put_list(streams, stream.stream(), {stream.first_version(), stream.last_version()});
  }
  put_facts(found, "versions", streams);
  put_flag(found, "deduplicated", answer.deduplicated());
  return found;
}

grpc::Status try_append(const AppendRequest& request, AppendResponse* answer) {
  Call call;
  return client->Append(&call, request, answer);
}

AppendResponse append(const AppendRequest& request) {
  AppendResponse answer;
  must(try_append(request, &answer));
  return answer;
}

Facts refused(const AppendRequest& request) {
  AppendResponse answer;
  return failed(try_append(request, &answer));
}

Facts append_first() { return appended(append(first_request())); }

Facts conflict() {
  AppendRequest request = request_to("order-1", event(3, "OrderPlaced"));
  request.set_expected_version(0);
  auto* other = request.add_expectations();
  other->set_stream("order-9");
  other->set_expected_state(STREAM_STATE_EXISTS);
  *request.add_conditions()->mutable_query()->add_items() = placed_by_first_customer();
  return refused(request);
}

Facts id_conflict() {
  NewEvent other = event(1, "OrderPlaced", "customer:c1");
  other.set_data("something else");
  return refused(request_to("order-1", other));
}

Facts two_streams() {
  AppendRequest request = request_to("order-2", event(4, "OrderPlaced", "customer:c2"));
  request.set_expected_state(STREAM_STATE_ABSENT);
  NewEvent shipped = event(5, "OrderShipped", "customer:c1");
  shipped.set_stream("order-1");
  *request.add_events() = shipped;
  auto* other = request.add_expectations();
  other->set_stream("order-1");
  other->set_expected_version(2);
  return appended(append(request));
}

Facts pipe() {
  Call call;
  auto appends = client->AppendPipe(&call);
  const std::vector<std::pair<int, uint64_t>> script = {{6, 0}, {7, 0}, {8, 1}};
  for (const auto& [number, expected] : script) {
    AppendPipeRequest request;
    *request.mutable_append() = request_to("pipe-1", event(number, "Piped"));
    request.mutable_append()->set_expected_version(expected);
    appends->Write(request);
  }
  appends->WritesDone();
  Facts found;
  auto* outcomes = (*found.mutable_fields())["outcomes"].mutable_list_value();
  AppendPipeResponse answer;
  while (appends->Read(&answer)) {
    Facts& outcome = *outcomes->add_values()->mutable_struct_value();
    put(outcome, "sequence", static_cast<double>(answer.sequence()));
    if (answer.has_appended()) {
      put(outcome, "position", static_cast<double>(answer.appended().last_position()));
    } else {
      put(outcome, "code", answer.failure().code());
      for (const auto& detail : answer.failure().details()) describe(outcome, detail);
    }
  }
  must(appends->Finish());
  return found;
}

// Reads to the end; a call that ends without a ReadEnd was cut off.
ReadEnd read(const ReadRequest& request, Events& events) {
  Call call;
  auto answers = client->Read(&call, request);
  ReadResponse answer;
  ReadEnd end;
  bool ended = false;
  while (answers->Read(&answer)) {
    for (const auto& event : answer.batch().events()) events.push_back(event);
    if (answer.has_end()) {
      end = answer.end();
      ended = true;
    }
  }
  must(answers->Finish());
  if (!ended) throw std::runtime_error("a read without its end");
  return end;
}

Facts read_forwards() {
  ReadRequest request;
  request.set_stream("order-1");
  Events events;
  ReadEnd end = read(request, events);
  const RecordedEvent& first = events.at(0);
  Facts found;
  put_list(found, "versions", versions(events));
  auto* types = (*found.mutable_fields())["types"].mutable_list_value();
  for (const auto& event : events) types->add_values()->set_string_value(event.type());
  auto* tags = (*found.mutable_fields())["tags"].mutable_list_value();
  for (const auto& tag : first.tags()) tags->add_values()->set_string_value(tag);
  put_text(found, "id", first.id());
  put_text(found, "data", first.data());
  put_text(found, "user", first.metadata().at("user"));
  put_text(found, "content_type", first.content_type());
  put_flag(found, "recorded", first.recorded_at().seconds() > 946684800);
  put_list(found, "end", {end.head(), end.after(), end.event_count(), end.stream_version()});
  return found;
}

Facts read_backwards() {
  ReadRequest request;
  request.set_direction(DIRECTION_BACKWARDS);
  request.set_limit(3);
  Events events;
  ReadEnd end = read(request, events);
  Facts found;
  put_list(found, "positions", positions(events));
  put(found, "head", static_cast<double>(end.head()));
  return found;
}

Facts query() {
  ReadRequest request;
  *request.mutable_query()->add_items() = placed_by_first_customer();
  request.mutable_query()->add_items()->add_streams("order-2");
  Events events;
  ReadEnd end = read(request, events);
  Facts found;
  put_list(found, "positions", positions(events));
  put(found, "after", static_cast<double>(end.after()));
  return found;
}

grpc::Status save(SaveSnapshotRequest& request, uint64_t version, SaveSnapshotResponse* answer) {
  Call call;
  request.set_version(version);
  return client->SaveSnapshot(&call, request, answer);
}

grpc::Status get(const std::string& stream, GetSnapshotResponse* answer) {
  Call call;
  GetSnapshotRequest request;
  request.set_stream(stream);
  return client->GetSnapshot(&call, request, answer);
}

Facts snapshot() {
  SaveSnapshotRequest request;
  request.set_stream("order-1");
  request.set_content_type("application/json");
  request.set_data(R"({"status":"paid"})");
  SaveSnapshotResponse saved;
  must(save(request, 2, &saved));
  GetSnapshotResponse got;
  must(get("order-1", &got));
  Facts found;
  put(found, "position", static_cast<double>(saved.position()));
  put(found, "version", static_cast<double>(got.snapshot().version()));
  put_text(found, "data", got.snapshot().data());
  put_facts(found, "beyond", failed(save(request, 99, &saved)));
  put_facts(found, "missing", failed(get("order-2", &got)));
  return found;
}

Facts load() {
  Call call;
  LoadRequest request;
  request.set_stream("order-1");
  auto answers = client->Load(&call, request);
  LoadResponse answer;
  Facts found;
  Events events;
  while (answers->Read(&answer)) {
    switch (answer.message_case()) {
      case LoadResponse::kSnapshot:
        put(found, "snapshot_version", static_cast<double>(answer.snapshot().version()));
        break;
      case LoadResponse::kBatch:
        for (const auto& event : answer.batch().events()) events.push_back(event);
        break;
      case LoadResponse::kEnd:
        put(found, "version", static_cast<double>(answer.end().version()));
        put(found, "head", static_cast<double>(answer.end().head()));
        break;
      case LoadResponse::MESSAGE_NOT_SET:
        throw std::runtime_error("an empty answer");
    }
  }
  must(answers->Finish());
  put_list(found, "versions", versions(events));
  return found;
}

// Gathers events until the next caught_up and answers its position.
uint64_t until_caught_up(Messages& messages, Events& events) {
  SubscribeResponse message;
  while (messages->Read(&message)) {
    for (const auto& event : message.batch().events()) events.push_back(event);
    if (message.has_caught_up()) return message.caught_up().position();
  }
  must(messages->Finish());
  throw std::runtime_error("a subscription ends only with an error");
}

void next_events(Messages& messages, Events& events) {
  SubscribeResponse message;
  while (messages->Read(&message)) {
    if (!message.has_batch()) continue;
    for (const auto& event : message.batch().events()) events.push_back(event);
    return;
  }
  must(messages->Finish());
}

// Reads on until the subscription ends, and says how.
Facts end_of(Messages& messages) {
  SubscribeResponse message;
  while (messages->Read(&message)) continue;
  return failed(messages->Finish());
}

uint64_t subscribers() {
  Call call;
  GetStreamRequest request;
  request.set_stream("order-1");
  GetStreamResponse answer;
  must(client->GetStream(&call, request, &answer));
  return answer.stream().subscriber_count();
}

Facts subscribe() {
  Call call;
  SubscribeRequest request;
  request.set_stream("order-1");
  Messages messages = client->Subscribe(&call, request);
  Events history, live;
  uint64_t caught_up = until_caught_up(messages, history);
  AppendRequest closed = request_to("order-1", event(9, "OrderClosed"));
  closed.set_expected_version(3);
  append(closed);
  next_events(messages, live);
  uint64_t before = subscribers();
  call.TryCancel();
  Facts ended = end_of(messages);
  uint64_t after = before;
  while (after != 0) after = subscribers();
  Facts found;
  put_list(found, "history", versions(history));
  put(found, "caught_up", static_cast<double>(caught_up));
  put_list(found, "live", positions(live));
  put(found, "code", ended.fields().at("code").number_value());
  put_list(found, "subscribers", {before, after});
  return found;
}

Facts deadline() {
  Call call(2);
  SubscribeRequest request;
  request.set_stream("empty-1");
  Messages messages = client->Subscribe(&call, request);
  Events none;
  uint64_t caught_up = until_caught_up(messages, none);
  Facts found;
  put(found, "caught_up", static_cast<double>(caught_up));
  put(found, "code", end_of(messages).fields().at("code").number_value());
  return found;
}

Facts large() {
  std::string data(2 * 1024 * 1024, '\0');
  for (size_t index = 0; index < data.size(); index++) data[index] = static_cast<char>(index % 251);
  NewEvent big = event(10, "Scanned");
  big.set_data(data);
  AppendResponse answer = append(request_to("large-1", big));
  ReadRequest request;
  request.set_stream("large-1");
  Events events;
  read(request, events);
  Facts found;
  put(found, "position", static_cast<double>(answer.last_position()));
  put(found, "bytes", static_cast<double>(events.at(0).data().size()));
  put_flag(found, "equal", events.at(0).data() == data);
  return found;
}

Facts restart() {
  SubscribeRequest request;
  request.set_after_position(7);
  Call before, after;
  Messages messages = client->Subscribe(&before, request);
  Events seen, resumed;
  uint64_t position = until_caught_up(messages, seen);
  std::cout << "RESTART" << std::endl;
  Facts ended = end_of(messages);
  std::string line;
  std::getline(std::cin, line);
  // The channel reconnects by itself; what is called before it has is retried.
  AppendResponse retried = append(first_request());
  append(request_to("order-2", event(11, "OrderReopened")));
  request.set_after_position(position);
  messages = client->Subscribe(&after, request);
  until_caught_up(messages, resumed);
  append(request_to("order-2", event(12, "OrderReopened")));
  next_events(messages, resumed);
  after.TryCancel();
  end_of(messages);
  Facts found;
  put_list(found, "seen", positions(seen));
  put_facts(found, "ended", ended);
  put_facts(found, "retried", appended(retried));
  put_list(found, "resumed", positions(resumed));
  return found;
}

// The retry advice that ships with the contract.
std::string service_config() {
  std::ifstream file("proto/annals/v1/annals_grpc_service_config.json");
  if (!file) throw std::runtime_error("no service config");
  return {std::istreambuf_iterator<char>(file), {}};
}

void report(const std::string& step, Facts (*run)()) {
  Facts line = run();
  put_text(line, "step", step);
  put_flag(line, "ok", true);
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(line, &json).ok()) std::abort();
  std::cout << json << std::endl;
}

}  // namespace

int main() {
  grpc::ChannelArguments options;
  // C++ sizes its windows to the connection by itself (BDP probing): nothing to set for reads.
  options.SetServiceConfigJSON(service_config());
  auto channel = grpc::CreateCustomChannel(std::getenv("ANNALS_ADDRESS"),
                                           grpc::InsecureChannelCredentials(), options);
  client = EventStoreService::NewStub(channel);
  report("append", append_first);
  report("conflict", conflict);
  report("retry", append_first);
  report("id_conflict", id_conflict);
  report("two_streams", two_streams);
  report("pipe", pipe);
  report("read_forwards", read_forwards);
  report("read_backwards", read_backwards);
  report("query", query);
  report("snapshot", snapshot);
  report("load", load);
  report("subscribe", subscribe);
  report("deadline", deadline);
  report("large", large);
  report("restart", restart);
}
