//! Errors as the contract types them: the code, `ErrorInfo`, then the details.

use prost_types::Any;
use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::pb;

use crate::annals::{AppendConflict, EventIdConflict, EventIdProblem};

type Found = Result<Value, Box<dyn std::error::Error>>;

/// Describes the error of a call that must fail.
pub fn failed<T>(outcome: Result<T, Status>) -> Found {
    let Err(status) = outcome else {
        return Err("expected an error".into());
    };
    let mut found = json!({ "code": status.code() as i32 });
    let rich: pb::Status = prost::Message::decode(status.details())?;
    for detail in &rich.details {
        describe(&mut found, detail)?;
    }
    Ok(found)
}

pub fn describe(found: &mut Value, detail: &Any) -> Result<(), prost::DecodeError> {
    let bytes = detail.value.as_slice();
    match detail.type_url.rsplit('/').next() {
        Some("google.rpc.ErrorInfo") => {
            let info: pb::ErrorInfo = prost::Message::decode(bytes)?;
            found["domain"] = info.domain.into();
            found["reason"] = info.reason.into();
        }
        Some("annals.v1.AppendConflict") => {
            let conflict: AppendConflict = prost::Message::decode(bytes)?;
            let actual: Map<String, Value> = conflict
                .streams
                .into_iter()
                .map(|stream| (stream.stream, stream.actual_version.into()))
                .collect();
            found["actual_versions"] = actual.into();
            if let Some(condition) = conflict.conditions.first() {
                found["condition_position"] = condition.position.into();
            }
        }
        Some("annals.v1.EventIdConflict") => {
            let ids: EventIdConflict = prost::Message::decode(bytes)?;
            let positions: Vec<u64> = ids.events.iter().map(|id| id.position).collect();
            let problem = EventIdProblem::try_from(ids.events[0].problem).unwrap_or_default();
            found["id_positions"] = positions.into();
            found["problem"] = problem.as_str_name().into();
        }
        _ => {}
    }
    Ok(())
}
