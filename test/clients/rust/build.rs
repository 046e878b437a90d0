//! Generates the client from the contract. A `prost_types` message stands for each well-known type.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protoc = protoc_bin_vendored::protoc_bin_path()?;
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc);
    let service = Path::new("proto/annals/v1/event_store_service.proto");
    let errors = Path::new("proto/annals/v1/errors.proto");
    tonic_prost_build::configure()
        .build_server(false)
        .compile_with_config(config, &[service, errors], &[Path::new("proto")])?;
    Ok(())
}
