// The conversation of test/clients/wire-conversation.ts, by the synchronous or the callback API.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "annals/v1/event_store_service.grpc.pb.h"
#include "failure.h"

using namespace annals::v1;

namespace {

using Stub = EventStoreService::Stub;
using Context = grpc::ClientContext;
using Interface = class Stub::async;

std::shared_ptr<grpc::Channel> channel;
std::unique_ptr<Stub> client;
bool with_callbacks = false;

void until(Context& context, int seconds = 100) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(seconds));
}

template <typename Request, typename Answer>
grpc::Status unary(grpc::Status (Stub::*blocking)(Context*, const Request&, Answer*),
                   void (Interface::*callback)(
                       Context*, const Request*, Answer*, std::function<void(grpc::Status)>),
                   Context& context, const Request& request, Answer& answer) {
  if (!with_callbacks) return (client.get()->*blocking)(&context, request, &answer);
  std::promise<grpc::Status> done;
  (client->async()->*callback)(&context, &request, &answer,
                               [&](grpc::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

grpc::Status try_append(const AppendRequest& request, AppendResponse& answer, int seconds = 100,
                        bool gzip = false) {
  Context context;
  until(context, seconds);
  if (gzip) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  return unary(&Stub::Append, &Interface::Append, context,
               request, answer);
}

AppendResponse append(const AppendRequest& request, bool gzip = false) {
  AppendResponse answer;
  must(try_append(request, answer, 100, gzip));
  return answer;
}

grpc::Status refused(const AppendRequest& request) {
  AppendResponse answer;
  return try_append(request, answer);
}

std::string id(int number) {
  char text[37];
  std::snprintf(text, sizeof text, "00000000-0000-4000-8000-%012d", number);
  return text;
}

AppendRequest request(const std::string& stream, int first, const std::vector<size_t>& sizes) {
  AppendRequest made;
  made.set_stream(stream);
  for (size_t size : sizes) {
    NewEvent* event = made.add_events();
    event->set_id(id(first++));
    event->set_type("T");
    event->set_data(std::string(size, 'a'));
  }
  return made;
}

AppendRequest expecting(uint64_t version, AppendRequest made) {
  made.set_expected_version(version);
  return made;
}

// Answers of a call, one by one. The callback API reads ahead: a read that is started elsewhere than
// in a reaction would need a hold.
template <typename Request, typename Answer>
class Call : grpc::ClientReadReactor<Answer> {
 public:
  Context context;

  Call(std::unique_ptr<grpc::ClientReader<Answer>> (Stub::*blocking)(Context*, const Request&),
       void (Interface::*callback)(
           Context*, const Request*, grpc::ClientReadReactor<Answer>*),
       const Request& asked, int seconds = 100, bool gzip = false)
      : request(asked) {
    until(context, seconds);
    if (gzip) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (!with_callbacks) {
      reader = (client.get()->*blocking)(&context, request);
      return;
    }
    (client->async()->*callback)(&context, &request, this);
    this->StartRead(&incoming);
    this->StartCall();
  }

  ~Call() {
    context.TryCancel();
    if (!isOver) end();
  }

  bool next(Answer& answer) {
    if (!with_callbacks) return reader->Read(&answer);
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return !answers.empty() || isDone; });
    if (answers.empty()) return false;
    answer.Swap(&*answers.begin());
    answers.erase(answers.begin());
    return true;
  }

  grpc::Status end() {
    Answer rest;
    while (next(rest)) continue;
    isOver = true;
    if (!with_callbacks) return reader->Finish();
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return isDone; });
    return status;
  }

  grpc::Status cancel() {
    context.TryCancel();
    return end();
  }

 private:
  void OnReadDone(bool ok) override {
    std::lock_guard<std::mutex> lock(mutex);
    if (!ok) return;
    answers.emplace_back().Swap(&incoming);
    this->StartRead(&incoming);
    changed.notify_all();
  }
  void OnDone(const grpc::Status& how) override {
    std::lock_guard<std::mutex> lock(mutex);
    status = how;
    isDone = true;
    changed.notify_all();
  }

  Request request;
  std::unique_ptr<grpc::ClientReader<Answer>> reader;
  std::mutex mutex;
  std::condition_variable changed;
  Answer incoming;
  std::deque<Answer> answers;
  grpc::Status status;
  bool isDone = false, isOver = false;
};

using Reading = Call<ReadRequest, ReadResponse>;
using Following = Call<SubscribeRequest, SubscribeResponse>;

Facts conflict() {
  uint64_t position = append(expecting(0, request("wire-1", 1, {1}))).last_position();
  Facts whole = failed(refused(expecting(0, request("wire-1", 2, {1})))), error, found;
  const auto& versions = whole.fields().at("actual_versions").struct_value();
  put(error, "code", whole.fields().at("code").number_value());
  put_text(error, "reason", whole.fields().at("reason").string_value());
  put(error, "actual", versions.fields().at("wire-1").number_value());
  put(found, "position", static_cast<double>(position));
  put_facts(found, "conflict", error);
  return found;
}

Facts retry() {
  AppendResponse answer = append(expecting(0, request("wire-1", 1, {1})));
  Facts found;
  put(found, "position", static_cast<double>(answer.last_position()));
  put_flag(found, "deduplicated", answer.deduplicated());
  return found;
}

Facts unknown() {
  grpc::GenericStub generic(channel);
  Context context;
  until(context);
  grpc::ByteBuffer asked(nullptr, 0), answer;
  std::promise<grpc::Status> done;
  generic.UnaryCall(&context, "/annals.v1.EventStoreService/Nothing", grpc::StubOptions(), &asked,
                    &answer, [&](grpc::Status status) { done.set_value(std::move(status)); });
  Facts found;
  put(found, "code", done.get_future().get().error_code());
  return found;
}

std::vector<RecordedEvent> read(const std::string& stream, bool gzip = false) {
  ReadRequest asked;
  asked.set_stream(stream);
  Reading reading(&Stub::Read, &Interface::Read, asked, 100, gzip);
  std::vector<RecordedEvent> events;
  for (ReadResponse answer; reading.next(answer);) {
    for (const auto& event : answer.batch().events()) events.push_back(event);
  }
  must(reading.end());
  return events;
}

Facts gzip() {
  Facts found;
  uint64_t position = append(request("gzip", 10, {1 << 20}), true).last_position();
  put(found, "position", static_cast<double>(position));
  put(found, "bytes", static_cast<double>(read("gzip", true).at(0).data().size()));
  return found;
}

Facts large() {
  append(request("large", 20, {3'140'000, 940'000}));
  std::vector<uint64_t> lengths;
  for (const auto& event : read("large")) lengths.push_back(event.data().size());
  Facts found;
  put_list(found, "lengths", lengths);
  return found;
}

Facts early() {
  Facts found;
  put(found, "code", refused(request("early", 30, {9 << 20})).error_code());
  uint64_t position = append(request("early", 31, {1})).last_position();
  put(found, "position", static_cast<double>(position));
  return found;
}

// Pipes are those of the synchronous API.
Facts pipe() {
  Context context;
  until(context);
  auto calls = client->AppendPipe(&context);
  AppendPipeRequest asked;
  std::vector<uint64_t> codes;
  int number = 40;
  for (int version : {0, 0, 1}) {
    *asked.mutable_append() = expecting(version, request("wire-2", number++, {1}));
    calls->Write(asked);
  }
  calls->WritesDone();
  for (AppendPipeResponse answer; calls->Read(&answer);) codes.push_back(answer.failure().code());
  Facts found;
  put_list(found, "codes", codes);
  put(found, "end", calls->Finish().error_code());
  return found;
}

Facts turns() {
  Context context;
  until(context);
  auto calls = client->AppendPipe(&context);
  AppendPipeRequest asked;
  AppendPipeResponse answer;
  int answers = 0;
  for (int turn = 0; turn < 20; turn++) {
    *asked.mutable_append() = request("wire-2", 50 + turn, {1});
    calls->Write(asked);
    answers += calls->Read(&answer);
  }
  context.TryCancel();
  while (calls->Read(&answer)) continue;
  Facts found;
  put(found, "answers", answers);
  put(found, "end", calls->Finish().error_code());
  return found;
}

std::unique_ptr<Following> follow(const std::string& stream, int seconds = 100) {
  SubscribeRequest asked;
  if (stream.empty()) asked.mutable_from_end();
  else asked.set_stream(stream);
  return std::make_unique<Following>(&Stub::Subscribe, &Interface::Subscribe, asked, seconds);
}

void until_caught_up(Following& following) {
  SubscribeResponse message;
  do {
    if (!following.next(message)) must(following.end());
  } while (!message.has_caught_up());
}

int next_events(Following& following) {
  SubscribeResponse message;
  do {
    if (!following.next(message)) must(following.end());
  } while (!message.has_batch());
  return message.batch().events_size();
}

uint64_t subscribers(const std::string& stream) {
  Context context;
  until(context);
  GetStreamRequest asked;
  asked.set_stream(stream);
  GetStreamResponse answer;
  must(unary(&Stub::GetStream, &Interface::GetStream, context, asked, answer));
  return answer.stream().subscriber_count();
}

uint64_t until_forgotten(const std::string& stream) {
  while (subscribers(stream) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return 0;
}

Facts live() {
  auto following = follow("wire-3");
  until_caught_up(*following);
  append(request("wire-3", 80, {1}));
  Facts found;
  put(found, "live", next_events(*following));
  uint64_t before = subscribers("wire-3");
  put(found, "end", following->cancel().error_code());
  put_list(found, "subscribers", {before, until_forgotten("wire-3")});
  return found;
}

Facts deadline() {
  Facts found;
  put(found, "end", follow("wire-4", 1)->end().error_code());
  return found;
}

int number(const char* name) { return std::atoi(std::getenv(name)); }

int code_with(int fields) {
  Context context;
  until(context);
  for (int index = 0; index < fields; index++) {
    context.AddMetadata("x-" + std::to_string(index), std::string(1'000, 'm'));
  }
  GetInfoResponse answer;
  grpc::Status status =
      unary(&Stub::GetInfo, &Interface::GetInfo, context, GetInfoRequest(), answer);
  std::cerr << status.error_message() << std::endl;
  return status.error_code();
}

Facts metadata() {
  Facts found;
  put(found, "taken", code_with(number("WIRE_FIELDS_TAKEN")));
  put(found, "refused", code_with(number("WIRE_FIELDS_REFUSED")));
  put(found, "after", code_with(0));
  return found;
}

Facts streams() {
  std::vector<std::unique_ptr<Following>> all(number("WIRE_STREAMS"));
  for (auto& following : all) following = follow("wire-5");
  for (auto& following : all) until_caught_up(*following);
  append(request("wire-5", 90, {1}));
  int events = 0;
  for (auto& following : all) events += next_events(*following);
  for (auto& following : all) following->cancel();
  Facts found;
  put(found, "open", static_cast<double>(all.size()));
  put(found, "live", events);
  put(found, "left", static_cast<double>(until_forgotten("wire-5")));
  return found;
}

Facts restart() {
  auto following = follow("");
  until_caught_up(*following);
  std::cout << "RESTART" << std::endl;
  std::atomic<bool> is_back = false;
  std::thread reader([&] {
    std::string line;
    std::getline(std::cin, line);
    is_back = true;
  });
  std::set<int> others;
  int acknowledged = 0;
  for (int after = 0; after < 20;) {
    AppendResponse answer;
    grpc::Status status = try_append(request("wire-6", 1'000 + acknowledged, {1}), answer, 20);
    if (status.ok()) {
      acknowledged++;
      after += is_back;
      continue;
    }
    if (status.error_code() != grpc::UNAVAILABLE) others.insert(status.error_code());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  reader.join();
  auto events = read("wire-6");
  bool is_whole = static_cast<int>(events.size()) == acknowledged;
  for (size_t index = 0; index < events.size(); index++) {
    is_whole = is_whole && events[index].id() == id(1'000 + static_cast<int>(index));
  }
  Facts whole = failed(following->end()), end, found;
  put(end, "code", whole.fields().at("code").number_value());
  put_text(end, "reason", whole.fields().at("reason").string_value());
  put_facts(found, "end", end);
  put_list(found, "others", {others.begin(), others.end()});
  put_flag(found, "isWhole", is_whole);
  return found;
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

int main(int, char** arguments) {
  with_callbacks = std::strcmp(arguments[1], "callbacks") == 0;
  channel = grpc::CreateChannel(std::getenv("ANNALS_ADDRESS"), grpc::InsecureChannelCredentials());
  client = EventStoreService::NewStub(channel);
  report("conflict", conflict);
  report("retry", retry);
  report("unknown", unknown);
  report("gzip", gzip);
  report("large", large);
  report("early", early);
  report("pipe", pipe);
  report("turns", turns);
  report("live", live);
  report("deadline", deadline);
  report("metadata", metadata);
  report("streams", streams);
  report("restart", restart);
}
