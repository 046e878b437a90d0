//! Parses answers as parsed-alike.test.ts asks: prints events in a form that all languages share.

use std::io::{Read, Write, stdin, stdout};

use annals::{ReadResponse, RecordedEvent, read_response};
use prost::Message;
use prost_types::{Value, value::Kind};

#[allow(dead_code)]
mod annals {
    tonic::include_proto!("annals.v1");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(value: &str) -> String {
    hex(value.as_bytes())
}

fn joined(mut parts: Vec<String>) -> String {
    parts.sort();
    parts.join(",")
}

fn value_of(value: &Value) -> String {
    match &value.kind {
        None => "-".into(),
        Some(Kind::NullValue(_)) => "z".into(),
        Some(Kind::NumberValue(number)) => format!("n{:016x}", number.to_bits()),
        Some(Kind::StringValue(string)) => format!("s{}", text(string)),
        Some(Kind::BoolValue(is)) => if *is { "b1" } else { "b0" }.into(),
        Some(Kind::ListValue(list)) => {
            let parts: Vec<String> = list.values.iter().map(value_of).collect();
            format!("[{}]", parts.join(","))
        }
        Some(Kind::StructValue(fields)) => {
            let each = |(key, value): (&String, &Value)| format!("{}:{}", text(key), value_of(value));
            format!("{{{}}}", joined(fields.fields.iter().map(each).collect()))
        }
    }
}

fn event_of(event: &RecordedEvent) -> String {
    let tags: Vec<String> = event.tags.iter().map(|tag| text(tag)).collect();
    let entry = |(key, value): (&String, &String)| format!("{}={}", text(key), text(value));
    let at = event.recorded_at.unwrap_or_default();
    [
        text(&event.id),
        text(&event.stream),
        text(&event.r#type),
        tags.join(","),
        joined(event.metadata.iter().map(entry).collect()),
        text(&event.content_type),
        hex(&event.data),
        event.json.as_ref().map(value_of).unwrap_or_default(),
        event.version.to_string(),
        event.position.to_string(),
        format!("{}.{}", at.seconds, at.nanos),
    ]
    .join("|")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut source = stdin().lock();
    let mut output = stdout().lock();
    let mut header = [0; 4];
    while source.read_exact(&mut header).is_ok() {
        let mut bytes = vec![0; u32::from_be_bytes(header) as usize];
        source.read_exact(&mut bytes)?;
        let line = match ReadResponse::decode(bytes.as_slice()) {
            Err(error) => format!("refused: {error}").replace('\n', " "),
            Ok(response) => match response.message {
                Some(read_response::Message::Batch(batch)) => {
                    batch.events.iter().map(event_of).collect::<Vec<_>>().join(";")
                }
                _ => String::new(),
            },
        };
        writeln!(output, "{line}")?;
    }
    Ok(())
}
