//! The official Rust client of KurrentDB walks through the streams and persistent subscriptions of a
//! server. Each step prints one line of JSON.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use kurrentdb::{
    Client, Error, EventData, NakAction, PersistentSubscriptionOptions, ReadAllOptions,
    ReadStreamOptions, ResolvedEvent, StreamMetadataBuilder, StreamMetadataResult, StreamPosition,
    StreamState, SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionFilter,
};
use serde_json::json;
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn connect(scheme: &str, hosts: &str) -> Client {
    let uri = format!("{scheme}://{hosts}?tls=false");
    Client::new(uri.parse().expect("a connection string")).expect("a client")
}

fn address() -> String {
    std::env::var("ANNALS_ADDRESS").expect("ANNALS_ADDRESS")
}

fn name() -> String {
    format!("orders-{}", Uuid::new_v4())
}

fn event(kind: &str) -> EventData {
    EventData::json(kind, &json!({"x": 1}))
        .expect("JSON")
        .id(Uuid::new_v4())
}

fn events(kinds: &[&str]) -> Vec<EventData> {
    kinds.iter().map(|kind| event(kind)).collect()
}

async fn add(
    client: &Client,
    stream: &str,
    state: StreamState,
    events: Vec<EventData>,
) -> kurrentdb::Result<u64> {
    let options = kurrentdb::AppendToStreamOptions::default().stream_state(state);
    Ok(client
        .append_to_stream(stream, &options, events)
        .await?
        .next_expected_version)
}

async fn read(client: &Client, stream: &str) -> kurrentdb::Result<Vec<ResolvedEvent>> {
    read_with(client, stream, &ReadStreamOptions::default()).await
}

async fn read_with(
    client: &Client,
    stream: &str,
    options: &ReadStreamOptions,
) -> kurrentdb::Result<Vec<ResolvedEvent>> {
    let mut found = Vec::new();
    let mut all = client.read_stream(stream, options).await?;
    while let Some(event) = all.next().await? {
        found.push(event);
    }
    Ok(found)
}

fn kinds(all: &[ResolvedEvent]) -> Vec<&str> {
    all.iter().map(kind).collect()
}

fn kind(found: &ResolvedEvent) -> &str {
    &found.event.as_ref().expect("an event").event_type
}

fn restart() {
    println!("RESTART");
    std::io::stdout().flush().expect("flushed");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    assert_eq!(line, "restarted\n");
}

async fn connect_and_discover(_: &Client) -> Outcome {
    let (stream, address) = (name(), address());
    for client in [
        connect("kurrentdb+discover", &address),
        connect("kurrentdb", &format!("{address},{address}")),
    ] {
        add(&client, &stream, StreamState::Any, events(&["A"])).await?;
        assert_eq!(client.server_info().await?.version().major(), 26);
    }
    Ok(())
}

async fn append_and_read(client: &Client) -> Outcome {
    let stream = name();
    let id = Uuid::new_v4();
    let first = event("A")
        .id(id)
        .metadata_as_json(&json!({"$correlationId": "c"}))?;
    let second = EventData::binary("B", Bytes::from_static(&[0, 1, 255]))
        .metadata(Bytes::from_static(&[9, 255]));
    assert_eq!(
        add(client, &stream, StreamState::NoStream, vec![first, second]).await?,
        1
    );
    add(
        client,
        &stream,
        StreamState::StreamRevision(1),
        events(&["C"]),
    )
    .await?;
    let all = read(client, &stream).await?;
    assert_eq!(kinds(&all), ["A", "B", "C"]);
    let (a, b) = (all[0].get_original_event(), all[1].get_original_event());
    assert_eq!((a.id, a.revision, a.is_json), (id, 0, true));
    assert_eq!(
        (&b.data[..], &b.custom_metadata[..], b.is_json),
        (&[0, 1, 255][..], &[9, 255][..], false)
    );
    let back = ReadStreamOptions::default()
        .position(StreamPosition::End)
        .max_count(2);
    assert_eq!(kinds(&read_with(client, &stream, &back).await?), ["C", "B"]);
    Ok(())
}

async fn conflict_and_retry(client: &Client) -> Outcome {
    let stream = name();
    let both = events(&["A", "B"]);
    for state in [StreamState::NoStream, StreamState::Any] {
        assert_eq!(add(client, &stream, state, both.clone()).await?, 1);
    }
    assert_eq!(read(client, &stream).await?.len(), 2);
    for state in [StreamState::NoStream, StreamState::StreamRevision(5)] {
        let refused = add(client, &stream, state, events(&["C"])).await;
        assert!(
            matches!(refused, Err(Error::WrongExpectedVersion { .. })),
            "{refused:?}"
        );
    }
    Ok(())
}

async fn append_in_batches(client: &Client) -> Outcome {
    let stream = name();
    let batches = client.batch_append(&Default::default()).await?;
    let appends =
        (0..200).map(|_| batches.append_to_stream(&stream, StreamState::Any, events(&["A", "B"])));
    for appended in futures::future::join_all(appends).await {
        appended?;
    }
    assert_eq!(read(client, &stream).await?.len(), 400);
    assert!(
        batches
            .append_to_stream(&stream, StreamState::NoStream, events(&["C"]))
            .await
            .is_err()
    );
    Ok(())
}

async fn read_all_and_filter(client: &Client) -> Outcome {
    let stream = name();
    add(client, &stream, StreamState::Any, events(&["A", "B"])).await?;
    let last = ReadAllOptions::default()
        .position(StreamPosition::End)
        .max_count(1);
    let found = client
        .read_all(&last)
        .await?
        .next()
        .await?
        .expect("an event");
    assert_eq!(kind(&found), "B");
    let filter = SubscriptionFilter::on_stream_name().add_prefix(&stream);
    let mut all = client
        .read_all(&ReadAllOptions::default().filter(filter))
        .await?;
    assert_eq!(kind(&all.next().await?.expect("an event")), "A");
    Ok(())
}

async fn subscribe_through_a_restart(client: &Client) -> Outcome {
    let stream = name();
    add(client, &stream, StreamState::Any, events(&["E0", "E1"])).await?;
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut first = client.subscribe_to_stream(&*stream, &options).await;
    assert_eq!(kind(&first.next().await?), "E0");
    let seen = first.next().await?.get_original_event().revision;
    restart();
    assert!(first.next().await.is_err());
    for tries in 0.. {
        match add(
            client,
            &stream,
            StreamState::StreamRevision(1),
            events(&["E2"]),
        )
        .await
        {
            Ok(_) => break,
            Err(error) => assert!(tries < 50, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let options = options.start_from(StreamPosition::Position(seen));
    let mut rest = client.subscribe_to_stream(&*stream, &options).await;
    assert_eq!(kind(&rest.next().await?), "E2");
    Ok(())
}

async fn subscribe_to_all(client: &Client) -> Outcome {
    let stream = name();
    let filter = SubscriptionFilter::on_event_type()
        .regex(r"^(?!(\$|A)).*ne$")
        .max(2);
    let options = SubscribeToAllOptions::default().filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    add(client, &stream, StreamState::Any, events(&["A", "Mine"])).await?;
    assert_eq!(kind(&subscription.next().await?), "Mine");
    Ok(())
}

async fn persistent_subscription(client: &Client) -> Outcome {
    let stream = name();
    add(
        client,
        &stream,
        StreamState::Any,
        events(&["E0", "E1", "E2"]),
    )
    .await?;
    let options = PersistentSubscriptionOptions::default().start_from(StreamPosition::Start);
    client
        .create_persistent_subscription(&*stream, "g", &options)
        .await?;
    let again = client
        .create_persistent_subscription(&*stream, "g", &options)
        .await;
    assert!(
        matches!(again, Err(Error::ResourceAlreadyExists)),
        "{again:?}"
    );
    let mut seen = Vec::new();
    {
        // This consumer is dropped with what it holds.
        let mut lost = client
            .subscribe_to_persistent_subscription(&*stream, "g", &Default::default())
            .await?;
        assert_eq!(kind(&lost.next().await?), "E0");
    }
    let mut consumer = client
        .subscribe_to_persistent_subscription(&*stream, "g", &Default::default())
        .await?;
    while seen.len() < 4 {
        let found = consumer.next().await?;
        seen.push(kind(&found).to_owned());
        match kind(&found) {
            "E1" if seen.iter().filter(|kind| *kind == "E1").count() == 1 => {
                consumer.nack(&found, NakAction::Retry, "again").await?
            }
            "E2" => consumer.nack(&found, NakAction::Park, "later").await?,
            _ => consumer.ack(&found).await?,
        }
    }
    assert_eq!(
        seen.iter().filter(|kind| *kind == "E1").count(),
        2,
        "{seen:?}"
    );
    for tries in 0.. {
        let info = client
            .get_persistent_subscription_info(&*stream, "g", &Default::default())
            .await?;
        if info.stats.parked_message_count == 1 {
            break;
        }
        assert!(tries < 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client
        .replay_parked_messages(&*stream, "g", &Default::default())
        .await?;
    let parked = consumer.next().await?;
    assert_eq!(kind(&parked), "E2");
    consumer.ack(&parked).await?;
    client
        .delete_persistent_subscription(&*stream, "g", &Default::default())
        .await?;
    let gone = client
        .delete_persistent_subscription(&*stream, "g", &Default::default())
        .await;
    assert!(matches!(gone, Err(Error::ResourceNotFound)), "{gone:?}");
    Ok(())
}

async fn metadata(client: &Client) -> Outcome {
    let stream = name();
    add(client, &stream, StreamState::Any, events(&["A", "B", "C"])).await?;
    let asked = StreamMetadataBuilder::new().max_count(2).build();
    client
        .set_stream_metadata(&*stream, &Default::default(), &asked)
        .await?;
    match client
        .get_stream_metadata(&*stream, &Default::default())
        .await?
    {
        StreamMetadataResult::Success(found) => assert_eq!(found.metadata().max_count, Some(2)),
        other => panic!("{}", other.is_deleted()),
    }
    assert_eq!(kinds(&read(client, &stream).await?), ["B", "C"]);
    Ok(())
}

async fn delete_and_tombstone(client: &Client) -> Outcome {
    let stream = name();
    assert!(matches!(
        read(client, &stream).await,
        Err(Error::ResourceNotFound)
    ));
    add(client, &stream, StreamState::NoStream, events(&["A", "B"])).await?;
    client.delete_stream(&*stream, &Default::default()).await?;
    assert!(matches!(
        read(client, &stream).await,
        Err(Error::ResourceNotFound)
    ));
    add(client, &stream, StreamState::NoStream, events(&["Again"])).await?;
    assert_eq!(
        read(client, &stream).await?[0]
            .get_original_event()
            .revision,
        2
    );
    client
        .tombstone_stream(&*stream, &Default::default())
        .await?;
    assert!(matches!(
        read(client, &stream).await,
        Err(Error::ResourceDeleted)
    ));
    let late = add(client, &stream, StreamState::Any, events(&["Late"])).await;
    assert!(matches!(late, Err(Error::ResourceDeleted)), "{late:?}");
    Ok(())
}

macro_rules! run {
    ($client:expr, $($step:ident),*) => { $({
        let client = $client.clone();
        // In a task of its own, so that a failed assertion is told.
        let told = tokio::spawn(async move { $step(&client).await.map_err(|error| error.to_string()) }).await;
        let failure = match told {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(panicked) => Some(panicked.to_string()),
        };
        println!("{}", json!({"step": stringify!($step), "ok": failure.is_none(), "error": failure}));
    })* };
}

#[tokio::main]
async fn main() {
    let client = connect("kurrentdb", &address());
    run!(
        client,
        connect_and_discover,
        append_and_read,
        conflict_and_retry,
        append_in_batches,
        read_all_and_filter,
        subscribe_through_a_restart,
        subscribe_to_all,
        persistent_subscription,
        metadata,
        delete_and_tombstone
    );
    std::process::exit(0);
}
