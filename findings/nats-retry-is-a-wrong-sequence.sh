#!/usr/bin/env bash
# A publish to JetStream that is repeated with its message id is answered as a duplicate, unless it also has
# an expected sequence: then the same repeat is refused as a wrong sequence.
#
# Versions: github.com/nats-io/nats-server/v2 v2.15.3, github.com/nats-io/nats.go v1.55.0 (Go), Go 1.26.
# Guess:    the message id is looked at first, so that a retry after a lost answer is recognised, whatever it
#           expects; the expectation was of the state before its own first try.
# Seen:     with an id and an expected last sequence, of the stream or of the subject, the retry gets error
#           10071. An event-sourced writer that lost one answer takes its own success for a conflict.
# Output:   as below. (The build takes most of the time.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

go mod init seen 2>/dev/null
go get github.com/nats-io/nats-server/v2@v2.15.3 github.com/nats-io/nats.go@v1.55.0 2>/dev/null

cat >main.go <<'END'
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	options := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: "store", NoLog: true, NoSigs: true}
	broker := must(server.NewServer(options))
	go broker.Start()
	broker.ReadyForConnections(10 * time.Second)
	stream := must(jetstream.New(must(nats.Connect(broker.ClientURL()))))
	everything := jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}
	must(stream.CreateStream(context.Background(), everything))

	publish := func(what string, options ...jetstream.PublishOpt) {
		for range 2 {
			answer, err := stream.Publish(context.Background(), "e.a", nil, options...)
			var refused *jetstream.APIError
			if errors.As(err, &refused) {
				fmt.Printf("%s: error %d\n", what, refused.ErrorCode)
			} else {
				fmt.Printf("%s: sequence %d, duplicate %v\n", what, answer.Sequence, answer.Duplicate)
			}
		}
	}
	publish("id", jetstream.WithMsgID("1"))
	publish("id, expecting 1", jetstream.WithMsgID("2"), jetstream.WithExpectLastSequence(1))
	publish("id, expecting 2 of the subject", jetstream.WithMsgID("3"), jetstream.WithExpectLastSequencePerSubject(2))
	broker.Shutdown()
}
END
go mod tidy 2>/dev/null
cat >expected <<'END'
id: sequence 1, duplicate false
id: sequence 1, duplicate true
id, expecting 1: sequence 2, duplicate false
id, expecting 1: error 10071
id, expecting 2 of the subject: sequence 3, duplicate false
id, expecting 2 of the subject: error 10071
END
go run . >seen
diff expected seen
echo "as written"
