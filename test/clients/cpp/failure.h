// Errors as the contract types them, and the JSON they are printed in.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/struct.pb.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <string>
#include <vector>

// The facts of a step: a JSON object, by the one JSON printer every C++ client has.
using Facts = google::protobuf::Struct;

inline void put(Facts& facts, const std::string& name, double value) {
  (*facts.mutable_fields())[name].set_number_value(value);
}
inline void put_text(Facts& facts, const std::string& name, const std::string& value) {
  (*facts.mutable_fields())[name].set_string_value(value);
}
inline void put_flag(Facts& facts, const std::string& name, bool value) {
  (*facts.mutable_fields())[name].set_bool_value(value);
}
inline void put_facts(Facts& facts, const std::string& name, const Facts& value) {
  *(*facts.mutable_fields())[name].mutable_struct_value() = value;
}
inline void put_list(Facts& facts, const std::string& name, const std::vector<uint64_t>& values) {
  auto* list = (*facts.mutable_fields())[name].mutable_list_value();
  for (uint64_t value : values) list->add_values()->set_number_value(static_cast<double>(value));
}

// Throws unless the call went well.
void must(const grpc::Status& status);

// The code, `ErrorInfo`, then the details of a call that must have failed.
Facts failed(const grpc::Status& status);

// Adds what one detail says.
void describe(Facts& found, const google::protobuf::Any& detail);
