#!/usr/bin/env bash
# pbjson refuses the number 9007199254740992 in a `google.protobuf.Value`, and takes 9007199254740992.0,
# 1e20 and 18446744073709551616.
#
# Versions: pbjson-types 0.9.0, serde_json 1.0 (crates.io), Rust 1.95.
# Guess:    JSON's numbers become doubles, as in the other protobuf runtimes: 2^53 exactly, larger ones
#           rounded.
# Seen:     a whole number that fits 64 bits is converted only if it is below 2^53, else the whole message is
#           refused; one too large for 64 bits, or written with a point or an exponent, is a double. An event
#           with one such id stops a reader in Rust. A 1 is written again as 1.0.
# Output:   as below. (The build takes most of the time.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cargo init --quiet --name seen --vcs none
cargo add --quiet pbjson-types@=0.9.0 serde_json@1

cat >src/main.rs <<'END'
fn main() {
    for text in ["1", "9007199254740991", "9007199254740992", "9007199254740992.0", "1e20", "18446744073709551616"] {
        match serde_json::from_str::<pbjson_types::Value>(text) {
            Ok(value) => println!("{text}: {}", serde_json::to_string(&value).unwrap()),
            Err(_) => println!("{text}: refused"),
        }
    }
}
END
cat >expected <<'END'
1: 1.0
9007199254740991: 9007199254740991.0
9007199254740992: refused
9007199254740992.0: 9007199254740992.0
1e20: 1e+20
18446744073709551616: 1.8446744073709552e+19
END
cargo run --quiet >seen
diff expected seen
echo "as written"
