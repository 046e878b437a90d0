//! The official Rust client of UmaDB walks through a server. Each step prints one line of JSON.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{
    DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem,
    TrackingInfo,
};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn connect() -> AsyncUmaDbClient {
    let address = std::env::var("ANNALS_ADDRESS").expect("ANNALS_ADDRESS");
    UmaDbClient::new(format!("http://{address}"))
        .connect_async()
        .await
        .expect("a connection")
}

fn fresh() -> String {
    format!("order:{}", Uuid::new_v4())
}

fn event(kind: &str, tag: &str) -> DcbEvent {
    DcbEvent::default()
        .event_type(kind)
        .tags([tag])
        .data(b"x")
        .uuid(Uuid::new_v4())
}

fn tagged(tag: &str) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag]))
}

fn restart() {
    println!("RESTART");
    std::io::stdout().flush().expect("flushed");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    assert_eq!(line, "restarted\n");
}

async fn events_come_back_as_they_were(client: &AsyncUmaDbClient) -> Outcome {
    let tag = fresh();
    let sent = event("Placed", &tag)
        .data([0, 255])
        .metadata_entry("b", "1")
        .metadata_entry("a", "2");
    let position = client
        .append(vec![sent.clone(), event("Paid", &tag)], None, None)
        .await?;
    let mut read = client.read(Some(tagged(&tag)), None, false, None).await?;
    let (found, head) = read.collect_with_head().await?;
    assert_eq!(head, Some(position));
    let event = &found[0].event;
    assert_eq!(found[0].position, position - 1);
    assert_eq!((&event.event_type, &event.tags), (&sent.event_type, &sent.tags));
    assert_eq!((&event.data, event.uuid), (&sent.data, sent.uuid));
    assert_eq!(event.metadata, sent.metadata);
    assert_eq!(client.head().await?, Some(position));
    Ok(())
}

async fn reads_have_bounds_and_directions(client: &AsyncUmaDbClient) -> Outcome {
    let tag = fresh();
    let last = client
        .append((0..5).map(|_| event("A", &tag)).collect(), None, None)
        .await?;
    let mut back = client.read(Some(tagged(&tag)), None, true, Some(2)).await?;
    let found = back.next_batch().await?;
    assert_eq!(
        found.iter().map(|one| one.position).collect::<Vec<_>>(),
        [last, last - 1]
    );
    let mut rest = client
        .read(Some(tagged(&tag)), Some(last - 1), false, None)
        .await?;
    assert_eq!(rest.next_batch().await?.len(), 2);
    Ok(())
}

async fn conditions_conflict_and_repeat(client: &AsyncUmaDbClient) -> Outcome {
    let tag = fresh();
    let condition = DcbAppendCondition::new(tagged(&tag)).after(client.head().await?);
    let first = event("A", &tag);
    let position = client
        .append(vec![first.clone()], Some(condition.clone()), None)
        .await?;
    let again = client
        .append(vec![first], Some(condition.clone()), None)
        .await?;
    assert_eq!(again, position);
    let other = client
        .append(vec![event("A", &tag)], Some(condition), None)
        .await;
    assert!(
        matches!(other, Err(DcbError::IntegrityError(_))),
        "{other:?}"
    );
    Ok(())
}

async fn tracking_moves_forwards(client: &AsyncUmaDbClient) -> Outcome {
    let (tag, source) = (fresh(), fresh());
    let tracking = |position| {
        Some(TrackingInfo {
            source: source.clone(),
            position,
        })
    };
    assert_eq!(client.get_tracking_info(&source).await?, None);
    client
        .append(vec![event("A", &tag)], None, tracking(7))
        .await?;
    let stale = client
        .append(vec![event("A", &tag)], None, tracking(7))
        .await;
    assert!(
        matches!(stale, Err(DcbError::IntegrityError(_))),
        "{stale:?}"
    );
    assert_eq!(client.get_tracking_info(&source).await?, Some(7));
    Ok(())
}

async fn invalid_events_are_refused(client: &AsyncUmaDbClient) -> Outcome {
    let refused = client
        .append(vec![event("A", &"x".repeat(5_000))], None, None)
        .await;
    assert!(
        matches!(refused, Err(DcbError::InvalidArgument(_))),
        "{refused:?}"
    );
    Ok(())
}

async fn a_subscription_goes_on_after_a_restart(client: &AsyncUmaDbClient) -> Outcome {
    let tag = fresh();
    let first = client.append(vec![event("E0", &tag)], None, None).await?;
    let mut subscription = client.subscribe(Some(tagged(&tag)), None).await?;
    assert_eq!(
        subscription.next().await.expect("an event")?.position,
        first
    );
    let second = client.append(vec![event("E1", &tag)], None, None).await?;
    assert_eq!(
        subscription.next().await.expect("an event")?.position,
        second
    );
    restart();
    while let Some(Ok(_)) = subscription.next().await {}
    let mut third = Err(DcbError::Timeout());
    for _ in 0..50 {
        third = client.append(vec![event("E2", &tag)], None, None).await;
        if third.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut rest = client.subscribe(Some(tagged(&tag)), Some(second)).await?;
    assert_eq!(rest.next().await.expect("an event")?.position, third?);
    Ok(())
}

macro_rules! run {
    ($client:expr, $($step:ident),*) => { $({
        let client = Arc::clone(&$client);
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
    let client = Arc::new(connect().await);
    run!(
        client,
        events_come_back_as_they_were,
        reads_have_bounds_and_directions,
        conditions_conflict_and_repeat,
        tracking_moves_forwards,
        invalid_events_are_refused,
        a_subscription_goes_on_after_a_restart
    );
    std::process::exit(0);
}
