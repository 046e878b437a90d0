//! The scripted conversation of test/clients/conversation.ts, by a generated Rust client.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use annals::event_store_service_client::EventStoreServiceClient;
use annals::*;
use failure::{describe, failed};

#[allow(dead_code)]
mod annals {
    tonic::include_proto!("annals.v1");
}
mod failure;

type Client = EventStoreServiceClient<Channel>;
type Facts = Result<Value, Box<dyn std::error::Error>>;

const STEP: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("ANNALS_ADDRESS")?;
    // tonic wants a URL: `unix:/path` is one, an address needs its scheme.
    let url = match address.starts_with("unix:") {
        true => address.replacen("unix:", "unix://", 1),
        false => format!("http://{address}"),
    };
    let channel = Endpoint::from_shared(url)?
        // Reads are several times faster with a window larger than the default 64 KiB.
        .initial_stream_window_size(4 * 1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .connect()
        .await?;
    let mut client = Client::new(channel);
    report("append", append(&mut client).await)?;
    report("conflict", conflict(&mut client).await)?;
    report("retry", append(&mut client).await)?;
    report("id_conflict", id_conflict(&mut client).await)?;
    report("two_streams", two_streams(&mut client).await)?;
    report("pipe", pipe(&mut client).await)?;
    report("read_forwards", read_forwards(&mut client).await)?;
    report("read_backwards", read_backwards(&mut client).await)?;
    report("query", query(&mut client).await)?;
    report("snapshot", snapshot(&mut client).await)?;
    report("load", load(&mut client).await)?;
    report("subscribe", subscribe(&mut client).await)?;
    report("deadline", deadline(&mut client).await)?;
    report("large", large(&mut client).await)?;
    report("restart", restart(&mut client).await)?;
    Ok(())
}

fn report(step: &str, facts: Facts) -> Result<(), Box<dyn std::error::Error>> {
    let mut line = json!({ "step": step, "ok": true });
    line.as_object_mut()
        .zip(facts?.as_object_mut())
        .map(|(line, facts)| line.append(facts));
    println!("{line}");
    Ok(())
}

/// A request whose call ends within a bounded time.
fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(STEP);
    request
}

fn event(number: u32, kind: &str, tags: &[&str]) -> NewEvent {
    NewEvent {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        r#type: kind.into(),
        tags: strings(tags),
        ..Default::default()
    }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn data(bytes: impl Into<Vec<u8>>) -> Option<new_event::Payload> {
    Some(new_event::Payload::Data(bytes.into()))
}

fn version(expected: u64) -> Option<append_request::Expected> {
    Some(append_request::Expected::ExpectedVersion(expected))
}

fn first_request() -> AppendRequest {
    let placed = NewEvent {
        metadata: [("user".into(), "ada".into())].into(),
        content_type: "application/json".into(),
        payload: data(r#"{"total":10}"#),
        ..event(1, "OrderPlaced", &["customer:c1"])
    };
    let paid = NewEvent {
        content_type: "application/json".into(),
        payload: data(r#"{"paid":true}"#),
        ..event(2, "OrderPaid", &["customer:c1"])
    };
    AppendRequest {
        stream: "order-1".into(),
        expected: version(0),
        events: vec![placed, paid],
        ..Default::default()
    }
}

fn placed_by_first_customer() -> QueryItem {
    QueryItem {
        types: strings(&["OrderPlaced"]),
        tags: strings(&["customer:c1"]),
        ..Default::default()
    }
}

fn appended(answer: &AppendResponse) -> Value {
    let versions: serde_json::Map<String, Value> = answer
        .streams
        .iter()
        .map(|s| (s.stream.clone(), json!([s.first_version, s.last_version])))
        .collect();
    json!({
        "positions": [answer.first_position, answer.last_position],
        "versions": versions,
        "deduplicated": answer.deduplicated,
    })
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}

fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version).collect()
}

async fn append(client: &mut Client) -> Facts {
    let answer = client.append(bounded(first_request())).await?;
    Ok(appended(answer.get_ref()))
}

async fn conflict(client: &mut Client) -> Facts {
    let request = AppendRequest {
        stream: "order-1".into(),
        expected: version(0),
        events: vec![event(3, "OrderPlaced", &[])],
        expectations: vec![StreamExpectation {
            stream: "order-9".into(),
            expected: Some(stream_expectation::Expected::ExpectedState(
                StreamState::Exists.into(),
            )),
        }],
        conditions: vec![AppendCondition {
            query: Some(Query {
                items: vec![placed_by_first_customer()],
            }),
            ..Default::default()
        }],
        ..Default::default()
    };
    failed(client.append(bounded(request)).await)
}

async fn id_conflict(client: &mut Client) -> Facts {
    let other = NewEvent {
        payload: data("something else"),
        ..event(1, "OrderPlaced", &["customer:c1"])
    };
    let request = AppendRequest {
        stream: "order-1".into(),
        events: vec![other],
        ..Default::default()
    };
    failed(client.append(bounded(request)).await)
}

async fn two_streams(client: &mut Client) -> Facts {
    let shipped = NewEvent {
        stream: "order-1".into(),
        ..event(5, "OrderShipped", &["customer:c1"])
    };
    let request = AppendRequest {
        stream: "order-2".into(),
        expected: Some(append_request::Expected::ExpectedState(
            StreamState::Absent.into(),
        )),
        events: vec![event(4, "OrderPlaced", &["customer:c2"]), shipped],
        expectations: vec![StreamExpectation {
            stream: "order-1".into(),
            expected: Some(stream_expectation::Expected::ExpectedVersion(2)),
        }],
        ..Default::default()
    };
    let answer = client.append(bounded(request)).await?;
    Ok(appended(answer.get_ref()))
}

async fn pipe(client: &mut Client) -> Facts {
    let requests = [(6, 0), (7, 0), (8, 1)].map(|(number, expected)| AppendPipeRequest {
        append: Some(AppendRequest {
            stream: "pipe-1".into(),
            expected: version(expected),
            events: vec![event(number, "Piped", &[])],
            ..Default::default()
        }),
    });
    let request = bounded(tokio_stream::iter(requests));
    let mut answers = client.append_pipe(request).await?.into_inner();
    let mut outcomes = Vec::new();
    while let Some(answer) = answers.message().await? {
        outcomes.push(outcome(answer)?);
    }
    Ok(json!({ "outcomes": outcomes }))
}

fn outcome(answer: AppendPipeResponse) -> Facts {
    let mut found = json!({ "sequence": answer.sequence });
    match answer.outcome.ok_or("an outcome")? {
        append_pipe_response::Outcome::Appended(appended) => {
            found["position"] = appended.last_position.into();
        }
        append_pipe_response::Outcome::Failure(failure) => {
            found["code"] = failure.code.into();
            for detail in &failure.details {
                describe(&mut found, detail)?;
            }
        }
    }
    Ok(found)
}

/// Reads to the end; a call that ends without a `ReadEnd` was cut off.
async fn read(
    client: &mut Client,
    request: ReadRequest,
) -> Result<(Vec<RecordedEvent>, ReadEnd), Box<dyn std::error::Error>> {
    let mut answers = client.read(bounded(request)).await?.into_inner();
    let (mut events, mut end) = (Vec::new(), None);
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(read_response::Message::Batch(batch)) => events.extend(batch.events),
            Some(read_response::Message::End(last)) => end = Some(last),
            None => return Err("an empty answer".into()),
        }
    }
    Ok((events, end.ok_or("a read without its end")?))
}

fn of_stream(stream: &str) -> ReadRequest {
    ReadRequest {
        selection: Some(read_request::Selection::Stream(stream.into())),
        ..Default::default()
    }
}

async fn read_forwards(client: &mut Client) -> Facts {
    let (events, end) = read(client, of_stream("order-1")).await?;
    let first = &events[0];
    let types: Vec<&str> = events.iter().map(|event| event.r#type.as_str()).collect();
    Ok(json!({
        "versions": versions(&events),
        "types": types,
        "id": first.id,
        "data": String::from_utf8(first.data.clone())?,
        "user": first.metadata["user"],
        "content_type": first.content_type,
        "tags": first.tags,
        "recorded": first.recorded_at.is_some_and(|time| time.seconds > 946_684_800),
        "end": [end.head, end.after, end.event_count, end.stream_version],
    }))
}

async fn read_backwards(client: &mut Client) -> Facts {
    let request = ReadRequest {
        direction: Direction::Backwards.into(),
        limit: 3,
        ..Default::default()
    };
    let (events, end) = read(client, request).await?;
    Ok(json!({ "positions": positions(&events), "head": end.head }))
}

async fn query(client: &mut Client) -> Facts {
    let other = QueryItem {
        streams: strings(&["order-2"]),
        ..Default::default()
    };
    let request = ReadRequest {
        selection: Some(read_request::Selection::Query(Query {
            items: vec![placed_by_first_customer(), other],
        })),
        ..Default::default()
    };
    let (events, end) = read(client, request).await?;
    Ok(json!({ "positions": positions(&events), "after": end.after }))
}

async fn snapshot(client: &mut Client) -> Facts {
    let save = SaveSnapshotRequest {
        stream: "order-1".into(),
        version: 2,
        content_type: "application/json".into(),
        state: Some(save_snapshot_request::State::Data(
            br#"{"status":"paid"}"#.into(),
        )),
        ..Default::default()
    };
    let get = |stream: &str| {
        bounded(GetSnapshotRequest {
            stream: stream.into(),
            ..Default::default()
        })
    };
    let saved = client.save_snapshot(bounded(save.clone())).await?;
    let got = client.get_snapshot(get("order-1")).await?.into_inner();
    let got = got.snapshot.ok_or("a snapshot")?;
    let Some(snapshot::State::Data(state)) = got.state else {
        return Err("a snapshot's bytes".into());
    };
    let beyond = SaveSnapshotRequest {
        version: 99,
        ..save
    };
    Ok(json!({
        "position": saved.get_ref().position,
        "version": got.version,
        "data": String::from_utf8(state)?,
        "beyond": failed(client.save_snapshot(bounded(beyond)).await)?,
        "missing": failed(client.get_snapshot(get("order-2")).await)?,
    }))
}

async fn load(client: &mut Client) -> Facts {
    let request = LoadRequest {
        stream: "order-1".into(),
        ..Default::default()
    };
    let mut answers = client.load(bounded(request)).await?.into_inner();
    let (mut found, mut events) = (json!({}), Vec::new());
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(load_response::Message::Snapshot(snapshot)) => {
                found["snapshot_version"] = snapshot.version.into();
            }
            Some(load_response::Message::Batch(batch)) => events.extend(batch.events),
            Some(load_response::Message::End(end)) => {
                found["version"] = end.version.into();
                found["head"] = end.head.into();
            }
            None => return Err("an empty answer".into()),
        }
    }
    found["versions"] = versions(&events).into();
    Ok(found)
}

fn follow_stream(stream: &str) -> SubscribeRequest {
    SubscribeRequest {
        selection: Some(subscribe_request::Selection::Stream(stream.into())),
        ..Default::default()
    }
}

/// The events before the next caught_up, and its position.
async fn until_caught_up(
    messages: &mut Streaming<SubscribeResponse>,
) -> Result<(Vec<RecordedEvent>, u64), Box<dyn std::error::Error>> {
    let mut events = Vec::new();
    loop {
        match messages.message().await?.and_then(|next| next.message) {
            Some(subscribe_response::Message::Batch(batch)) => events.extend(batch.events),
            Some(subscribe_response::Message::CaughtUp(at)) => return Ok((events, at.position)),
            Some(_) => {}
            None => return Err("a subscription ends only with an error".into()),
        }
    }
}

async fn next_events(
    messages: &mut Streaming<SubscribeResponse>,
) -> Result<Vec<RecordedEvent>, Box<dyn std::error::Error>> {
    loop {
        match messages.message().await?.and_then(|next| next.message) {
            Some(subscribe_response::Message::Batch(batch)) => return Ok(batch.events),
            Some(_) => {}
            None => return Err("a subscription ends only with an error".into()),
        }
    }
}

/// Reads on until the subscription ends, and says how.
async fn end_of(messages: &mut Streaming<SubscribeResponse>) -> Facts {
    loop {
        match messages.message().await {
            Ok(Some(_)) => {}
            ended => return failed(ended),
        }
    }
}

async fn subscribers(client: &mut Client) -> Result<u32, Box<dyn std::error::Error>> {
    let request = GetStreamRequest {
        stream: "order-1".into(),
    };
    let answer = client.get_stream(bounded(request)).await?.into_inner();
    Ok(answer.stream.ok_or("a stream")?.subscriber_count)
}

async fn subscribe(client: &mut Client) -> Facts {
    let request = bounded(follow_stream("order-1"));
    let mut messages = client.subscribe(request).await?.into_inner();
    let (history, caught_up) = until_caught_up(&mut messages).await?;
    let closed = AppendRequest {
        stream: "order-1".into(),
        expected: version(3),
        events: vec![event(9, "OrderClosed", &[])],
        ..Default::default()
    };
    client.append(bounded(closed)).await?;
    let live = next_events(&mut messages).await?;
    let before = subscribers(client).await?;
    // In Rust a call is cancelled by dropping it; there is nobody left to be told a status.
    drop(messages);
    let mut after = before;
    while after != 0 {
        after = subscribers(client).await?;
    }
    Ok(json!({
        "history": versions(&history),
        "caught_up": caught_up,
        "live": positions(&live),
        "code": Code::Cancelled as i32,
        "subscribers": [before, after],
    }))
}

async fn deadline(client: &mut Client) -> Facts {
    let mut request = Request::new(follow_stream("empty-1"));
    request.set_timeout(Duration::from_secs(2));
    let mut messages = client.subscribe(request).await?.into_inner();
    let (_, caught_up) = until_caught_up(&mut messages).await?;
    let ended = end_of(&mut messages).await?;
    Ok(json!({ "caught_up": caught_up, "code": ended["code"] }))
}

async fn large(client: &mut Client) -> Facts {
    let bytes: Vec<u8> = (0..2 * 1024 * 1024).map(|n| (n % 251) as u8).collect();
    let big = NewEvent {
        payload: data(bytes.clone()),
        ..event(10, "Scanned", &[])
    };
    let request = AppendRequest {
        stream: "large-1".into(),
        events: vec![big],
        ..Default::default()
    };
    let answer = client.append(bounded(request)).await?.into_inner();
    let (events, _) = read(client, of_stream("large-1")).await?;
    Ok(json!({
        "position": answer.last_position,
        "bytes": events[0].data.len(),
        "equal": events[0].data == bytes,
    }))
}

async fn restart(client: &mut Client) -> Facts {
    let mut messages = follow(client, 7).await?;
    let (seen, position) = until_caught_up(&mut messages).await?;
    println!("RESTART");
    let ended = end_of(&mut messages).await?;
    std::io::stdin().read_line(&mut String::new())?;
    let retried = append_when_ready(client, first_request()).await?;
    reopen(client, 11).await?;
    let mut messages = follow(client, position).await?;
    let (mut resumed, _) = until_caught_up(&mut messages).await?;
    reopen(client, 12).await?;
    resumed.extend(next_events(&mut messages).await?);
    Ok(json!({
        "seen": positions(&seen),
        "ended": ended,
        "retried": appended(&retried),
        "resumed": positions(&resumed),
    }))
}

async fn follow(
    client: &mut Client,
    position: u64,
) -> Result<Streaming<SubscribeResponse>, Status> {
    let request = SubscribeRequest {
        start: Some(subscribe_request::Start::AfterPosition(position)),
        ..Default::default()
    };
    Ok(client.subscribe(bounded(request)).await?.into_inner())
}

async fn reopen(client: &mut Client, number: u32) -> Result<(), Status> {
    let request = AppendRequest {
        stream: "order-2".into(),
        events: vec![event(number, "OrderReopened", &[])],
        ..Default::default()
    };
    client.append(bounded(request)).await?;
    Ok(())
}

/// The channel reconnects at the next call. UNAVAILABLE is safe to retry: the events have ids.
async fn append_when_ready(
    client: &mut Client,
    request: AppendRequest,
) -> Result<AppendResponse, Status> {
    for attempt in 1.. {
        match client.append(bounded(request.clone())).await {
            Err(status) if status.code() == Code::Unavailable && attempt < 50 => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return Ok(answer?.into_inner()),
        }
    }
    unreachable!()
}
