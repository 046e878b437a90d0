//! The conversation of test/clients/wire-conversation.ts, by tonic.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;
use tokio_stream::StreamExt;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, IntoRequest, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tonic_types::pb;

use annals::event_store_service_client::EventStoreServiceClient;
use annals::*;

#[allow(dead_code)]
mod annals {
    tonic::include_proto!("annals.v1");
}

type Error = Box<dyn std::error::Error>;
type Facts = Result<Value, Error>;

const STEP: Duration = Duration::from_secs(100);

struct Wire {
    channel: Channel,
    client: EventStoreServiceClient<Channel>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = format!("http://{}", std::env::var("ANNALS_ADDRESS")?);
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let client = EventStoreServiceClient::new(channel.clone());
    let mut wire = Wire { channel, client };
    report("conflict", wire.conflict().await)?;
    report("retry", wire.retry().await)?;
    report("unknown", wire.unknown().await)?;
    report("gzip", wire.gzip().await)?;
    report("large", wire.large().await)?;
    report("early", wire.early().await)?;
    report("pipe", wire.pipe().await)?;
    report("turns", wire.turns().await)?;
    report("live", wire.live().await)?;
    report("deadline", wire.deadline().await)?;
    report("metadata", wire.metadata().await)?;
    report("streams", wire.streams().await)?;
    report("restart", wire.restart().await)
}

fn report(step: &str, facts: Facts) -> Result<(), Error> {
    let mut line = json!({ "step": step, "ok": true });
    let found = facts?;
    for (name, value) in found.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
    println!("{line}");
    Ok(())
}

fn number(name: &str) -> usize {
    std::env::var(name).unwrap().parse().unwrap()
}

fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn request(stream: &str, first: usize, sizes: &[usize]) -> AppendRequest {
    let events = sizes.iter().enumerate().map(|(index, size)| NewEvent {
        id: id(first + index),
        r#type: "T".into(),
        payload: Some(new_event::Payload::Data(vec![b'a'; *size].into())),
        ..Default::default()
    });
    AppendRequest { stream: stream.into(), events: events.collect(), ..Default::default() }
}

fn expecting(version: u64, asked: AppendRequest) -> AppendRequest {
    let expected = Some(append_request::Expected::ExpectedVersion(version));
    AppendRequest { expected, ..asked }
}

fn bounded<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

fn typed(status: &Status) -> Facts {
    let mut found = json!({ "code": status.code() as i32 });
    let rich: pb::Status = prost::Message::decode(status.details())?;
    for detail in &rich.details {
        let bytes = detail.value.as_slice();
        match detail.type_url.rsplit('/').next() {
            Some("google.rpc.ErrorInfo") => {
                let info: pb::ErrorInfo = prost::Message::decode(bytes)?;
                found["reason"] = info.reason.into();
            }
            Some("annals.v1.AppendConflict") => {
                let conflict: AppendConflict = prost::Message::decode(bytes)?;
                found["actual"] = conflict.streams[0].actual_version.into();
            }
            _ => {}
        }
    }
    Ok(found)
}

fn failure<T>(outcome: Result<T, Status>) -> Result<Status, Error> {
    outcome.err().ok_or("expected a failure".into())
}

fn code_of<T>(outcome: &Result<T, Status>) -> i32 {
    outcome.as_ref().err().map_or(Code::Ok, Status::code) as i32
}

/// A subscription and, dropped, its end: tonic cancels a call whose answers are dropped.
struct Following(Streaming<SubscribeResponse>);

impl Following {
    async fn until_caught_up(&mut self) -> Result<(), Error> {
        loop {
            let message = self.0.message().await?.ok_or("the end")?;
            if let Some(subscribe_response::Message::CaughtUp(_)) = message.message {
                return Ok(());
            }
        }
    }

    async fn next_events(&mut self) -> Result<usize, Error> {
        loop {
            let message = self.0.message().await?.ok_or("the end")?;
            if let Some(subscribe_response::Message::Batch(batch)) = message.message {
                return Ok(batch.events.len());
            }
        }
    }

    async fn end(&mut self) -> Result<Status, Error> {
        loop {
            match self.0.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Err("expected a failure".into()),
                Err(status) => return Ok(status),
            }
        }
    }
}

impl Wire {
    async fn store(&mut self, asked: AppendRequest) -> Result<AppendResponse, Status> {
        Ok(self.client.append(bounded(asked, STEP)).await?.into_inner())
    }

    async fn conflict(&mut self) -> Facts {
        let answer = self.store(expecting(0, request("wire-1", 1, &[1]))).await?;
        let refused = self.store(expecting(0, request("wire-1", 2, &[1]))).await;
        Ok(json!({ "position": answer.last_position, "conflict": typed(&failure(refused)?)? }))
    }

    async fn retry(&mut self) -> Facts {
        let answer = self.store(expecting(0, request("wire-1", 1, &[1]))).await?;
        Ok(json!({ "position": answer.last_position, "deduplicated": answer.deduplicated }))
    }

    async fn unknown(&mut self) -> Facts {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await?;
        let path = "/annals.v1.EventStoreService/Nothing".parse()?;
        let codec: ProstCodec<GetInfoRequest, GetInfoResponse> = ProstCodec::default();
        let outcome = client.unary(GetInfoRequest {}.into_request(), path, codec).await;
        Ok(json!({ "code": code_of(&outcome) }))
    }

    async fn read(client: &mut EventStoreServiceClient<Channel>, stream: &str) -> Result<Vec<RecordedEvent>, Error> {
        let selection = Some(read_request::Selection::Stream(stream.into()));
        let asked = ReadRequest { selection, ..Default::default() };
        let mut answers = client.read(bounded(asked, STEP)).await?.into_inner();
        let mut events = Vec::new();
        while let Some(answer) = answers.message().await? {
            if let Some(read_response::Message::Batch(batch)) = answer.message {
                events.extend(batch.events);
            }
        }
        Ok(events)
    }

    async fn gzip(&mut self) -> Facts {
        let mut client = self
            .client
            .clone()
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip);
        let answer = client.append(request("gzip", 10, &[1 << 20])).await?.into_inner();
        let events = Self::read(&mut client, "gzip").await?;
        let bytes = events[0].data.len();
        Ok(json!({ "position": answer.last_position, "bytes": bytes }))
    }

    async fn large(&mut self) -> Facts {
        self.store(request("large", 20, &[3_140_000, 940_000])).await?;
        let events = Self::read(&mut self.client, "large").await?;
        let lengths: Vec<usize> = events.iter().map(|event| event.data.len()).collect();
        Ok(json!({ "lengths": lengths }))
    }

    async fn early(&mut self) -> Facts {
        let outcome = self.store(request("early", 30, &[9 << 20])).await;
        let answer = self.store(request("early", 31, &[1])).await?;
        Ok(json!({ "code": code_of(&outcome), "position": answer.last_position }))
    }

    async fn pipe(&mut self) -> Facts {
        let sent = [0, 0, 1].into_iter().enumerate().map(|(index, version)| AppendPipeRequest {
            append: Some(expecting(version, request("wire-2", 40 + index, &[1]))),
        });
        let sent: Vec<_> = sent.collect();
        let mut answers = self.client.append_pipe(tokio_stream::iter(sent)).await?.into_inner();
        let mut codes = Vec::new();
        while let Some(answer) = answers.message().await? {
            codes.push(match answer.outcome {
                Some(append_pipe_response::Outcome::Failure(failure)) => failure.code,
                _ => 0,
            });
        }
        Ok(json!({ "codes": codes, "end": 0 }))
    }

    async fn turns(&mut self) -> Facts {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let sent = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = self.client.append_pipe(sent).await?.into_inner();
        let mut count = 0;
        for turn in 0..20 {
            let append = Some(request("wire-2", 50 + turn, &[1]));
            sender.send(AppendPipeRequest { append }).await?;
            count += usize::from(answers.next().await.transpose()?.is_some());
        }
        drop(answers);
        // Nobody is told of an end that one made oneself.
        Ok(json!({ "answers": count, "end": Code::Cancelled as i32 }))
    }

    async fn follow(&mut self, asked: SubscribeRequest, time: Duration) -> Result<Following, Status> {
        Ok(Following(self.client.subscribe(bounded(asked, time)).await?.into_inner()))
    }

    async fn follow_stream(&mut self, stream: &str, time: Duration) -> Result<Following, Status> {
        let selection = Some(subscribe_request::Selection::Stream(stream.into()));
        self.follow(SubscribeRequest { selection, ..Default::default() }, time).await
    }

    async fn subscribers(&mut self, stream: &str) -> Result<u32, Error> {
        let asked = GetStreamRequest { stream: stream.into() };
        let answer = self.client.get_stream(bounded(asked, STEP)).await?.into_inner();
        Ok(answer.stream.ok_or("no stream")?.subscriber_count)
    }

    async fn until_forgotten(&mut self, stream: &str) -> Result<u32, Error> {
        while self.subscribers(stream).await? != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(0)
    }

    async fn live(&mut self) -> Facts {
        let mut following = self.follow_stream("wire-3", STEP).await?;
        following.until_caught_up().await?;
        self.store(request("wire-3", 80, &[1])).await?;
        let live = following.next_events().await?;
        let before = self.subscribers("wire-3").await?;
        drop(following);
        let after = self.until_forgotten("wire-3").await?;
        Ok(json!({ "live": live, "end": Code::Cancelled as i32, "subscribers": [before, after] }))
    }

    async fn deadline(&mut self) -> Facts {
        let mut following = self.follow_stream("wire-4", Duration::from_secs(1)).await?;
        Ok(json!({ "end": following.end().await?.code() as i32 }))
    }

    async fn code_with(&mut self, fields: usize) -> Result<i32, Error> {
        let mut asked = bounded(GetInfoRequest {}, STEP);
        for index in 0..fields {
            let key: AsciiMetadataKey = format!("x-{index}").parse()?;
            asked.metadata_mut().insert(key, MetadataValue::try_from("m".repeat(1_000))?);
        }
        let outcome = self.client.get_info(asked).await;
        eprintln!("{:?}", outcome.as_ref().err());
        Ok(code_of(&outcome))
    }

    async fn metadata(&mut self) -> Facts {
        let taken = self.code_with(number("WIRE_FIELDS_TAKEN")).await?;
        let refused = self.code_with(number("WIRE_FIELDS_REFUSED")).await?;
        Ok(json!({ "taken": taken, "refused": refused, "after": self.code_with(0).await? }))
    }

    async fn streams(&mut self) -> Facts {
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..number("WIRE_STREAMS") {
            let mut wire = Wire { channel: self.channel.clone(), client: self.client.clone() };
            opening.spawn(async move { wire.follow_stream("wire-5", STEP).await });
        }
        let mut all = opening.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        for following in &mut all {
            following.until_caught_up().await?;
        }
        self.store(request("wire-5", 90, &[1])).await?;
        let mut live = 0;
        for following in &mut all {
            live += following.next_events().await?;
        }
        let open = all.len();
        drop(all);
        Ok(json!({ "open": open, "live": live, "left": self.until_forgotten("wire-5").await? }))
    }

    async fn restart(&mut self) -> Facts {
        let start = Some(subscribe_request::Start::FromEnd(()));
        let asked = SubscribeRequest { start, ..Default::default() };
        let mut following = self.follow(asked, STEP).await?;
        following.until_caught_up().await?;
        println!("RESTART");
        let back = tokio::spawn(async {
            let mut line = String::new();
            let _ = tokio::io::BufReader::new(tokio::io::stdin()).read_line(&mut line).await;
        });
        let (mut acknowledged, mut after) = (0, 0);
        let mut others = BTreeSet::new();
        while after < 20 {
            let asked = request("wire-6", 1_000 + acknowledged, &[1]);
            match self.client.append(bounded(asked, Duration::from_secs(20))).await {
                Ok(_) => {
                    acknowledged += 1;
                    after += usize::from(back.is_finished());
                }
                Err(status) => {
                    if status.code() != Code::Unavailable {
                        eprintln!("{status:?}");
                        others.insert(status.code() as i32);
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        let events = Self::read(&mut self.client, "wire-6").await?;
        let expected = (0..acknowledged).map(|index| id(1_000 + index));
        let is_whole = events.iter().map(|event| event.id.clone()).eq(expected);
        let end = typed(&following.end().await?)?;
        Ok(json!({ "end": end, "others": others, "isWhole": is_whole }))
    }
}
