"""Parses answers as parsed-alike.test.ts asks: prints each event in a form that all languages share."""

import struct
import sys

from google.protobuf.message import DecodeError

from annals.v1 import read_pb2


def text(value):
    return value.encode().hex()


def value_of(value):
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return "n" + struct.pack(">d", value.number_value).hex()
    if kind == "string_value":
        return "s" + text(value.string_value)
    if kind == "bool_value":
        return "b1" if value.bool_value else "b0"
    if kind == "list_value":
        return "[" + ",".join(value_of(each) for each in value.list_value.values) + "]"
    if kind == "struct_value":
        fields = value.struct_value.fields
        return "{" + ",".join(sorted(f"{text(key)}:{value_of(fields[key])}" for key in fields)) + "}"
    return "z" if kind == "null_value" else "-"


def event_of(event):
    return "|".join([
        text(event.id),
        text(event.stream),
        text(event.type),
        ",".join(text(tag) for tag in event.tags),
        ",".join(sorted(f"{text(key)}={text(value)}" for key, value in event.metadata.items())),
        text(event.content_type),
        event.data.hex(),
        value_of(event.json) if event.HasField("json") else "",
        str(event.version),
        str(event.position),
        f"{event.recorded_at.seconds}.{event.recorded_at.nanos}",
    ])


def main():
    source = sys.stdin.buffer
    while header := source.read(4):
        message = read_pb2.ReadResponse()
        try:
            message.ParseFromString(source.read(int.from_bytes(header, "big")))
            print(";".join(event_of(event) for event in message.batch.events))
        except (DecodeError, UnicodeDecodeError) as error:
            print(f"refused: {error}".splitlines()[0])


main()
