// Parses answers as parsed-alike.test.ts asks: prints events in a form that all languages share.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <set>
#include <string>

#include "annals/v1/read.pb.h"

namespace {

std::string hex(const std::string &bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

template <typename Parts> std::string joined(const Parts &parts) {
  std::string text;
  bool first = true;
  for (const auto &part : parts) {
    text += (first ? "" : ",") + part;
    first = false;
  }
  return text;
}

std::string value_of(const google::protobuf::Value &value) {
  using google::protobuf::Value;
  switch (value.kind_case()) {
  case Value::kNullValue:
    return "z";
  case Value::kNumberValue: {
    char text[32];
    const auto bits = std::bit_cast<std::uint64_t>(value.number_value());
    std::snprintf(text, sizeof text, "n%016llx", static_cast<unsigned long long>(bits));
    return text;
  }
  case Value::kStringValue:
    return "s" + hex(value.string_value());
  case Value::kBoolValue:
    return value.bool_value() ? "b1" : "b0";
  case Value::kListValue: {
    std::vector<std::string> parts;
    for (const auto &each : value.list_value().values()) parts.push_back(value_of(each));
    return "[" + joined(parts) + "]";
  }
  case Value::kStructValue: {
    std::multiset<std::string> parts;
    for (const auto &[key, each] : value.struct_value().fields())
      parts.insert(hex(key) + ":" + value_of(each));
    return "{" + joined(parts) + "}";
  }
  default:
    return "-";
  }
}

std::string event_of(const annals::v1::RecordedEvent &event) {
  std::vector<std::string> tags;
  for (const auto &tag : event.tags()) tags.push_back(hex(tag));
  std::multiset<std::string> metadata;
  for (const auto &[key, value] : event.metadata()) metadata.insert(hex(key) + "=" + hex(value));
  const auto &at = event.recorded_at();
  return hex(event.id()) + "|" + hex(event.stream()) + "|" + hex(event.type()) + "|" +
         joined(tags) + "|" + joined(metadata) + "|" + hex(event.content_type()) + "|" +
         hex(event.data()) + "|" + (event.has_json() ? value_of(event.json()) : "") + "|" +
         std::to_string(event.version()) + "|" + std::to_string(event.position()) + "|" +
         std::to_string(at.seconds()) + "." + std::to_string(at.nanos());
}

} // namespace

int main() {
  unsigned char header[4];
  while (std::cin.read(reinterpret_cast<char *>(header), 4)) {
    const std::size_t length = std::size_t{header[0]} << 24 | header[1] << 16 | header[2] << 8 | header[3];
    std::string bytes(length, '\0');
    std::cin.read(bytes.data(), static_cast<std::streamsize>(length));
    annals::v1::ReadResponse message;
    if (!message.ParseFromString(bytes)) {
      std::cout << "refused: ParseFromString\n";
      continue;
    }
    std::string line;
    for (const auto &event : message.batch().events()) {
      if (!line.empty()) line += ";";
      line += event_of(event);
    }
    std::cout << line << "\n";
  }
}
