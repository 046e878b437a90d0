// The official Go client of KurrentDB walks through the streams and persistent subscriptions of a
// server. Each step prints one line of JSON.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kurrent-io/KurrentDB-Client-Go/kurrentdb"
)

var (
	address = os.Getenv("ANNALS_ADDRESS")
	input   = bufio.NewReader(os.Stdin)
	client  *kurrentdb.Client
)

const everything = 1 << 50

func connect(uri string) *kurrentdb.Client {
	settings := must(kurrentdb.ParseConnectionString(uri))
	settings.Logger = kurrentdb.NoopLogging()
	return must(kurrentdb.NewClient(settings))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(holds bool, what ...any) {
	if !holds {
		panic(fmt.Sprint(what...))
	}
}

// fails expects an error of this code.
func fails(code kurrentdb.ErrorCode, err error) {
	var found *kurrentdb.Error
	expect(errors.As(err, &found) && found.IsErrorCode(code), "expected code ", code, ", got ", err)
}

func background() context.Context {
	ctx, _ := context.WithTimeout(context.Background(), time.Minute)
	return ctx
}

func name() string { return "orders-" + uuid.NewString() }

func event(kind string) kurrentdb.EventData {
	return kurrentdb.EventData{
		EventID: uuid.New(), EventType: kind, ContentType: kurrentdb.ContentTypeJson, Data: []byte(`{"x":1}`),
	}
}

func events(kinds ...string) []kurrentdb.EventData {
	all := make([]kurrentdb.EventData, len(kinds))
	for i, kind := range kinds {
		all[i] = event(kind)
	}
	return all
}

func try(stream string, state kurrentdb.StreamState, events ...kurrentdb.EventData) error {
	_, err := client.AppendToStream(background(), stream, kurrentdb.AppendToStreamOptions{StreamState: state}, events...)
	return err
}

func add(stream string, state kurrentdb.StreamState, events ...kurrentdb.EventData) *kurrentdb.WriteResult {
	options := kurrentdb.AppendToStreamOptions{StreamState: state}
	return must(client.AppendToStream(background(), stream, options, events...))
}

func collect(stream *kurrentdb.ReadStream, err error) ([]*kurrentdb.ResolvedEvent, error) {
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var all []*kurrentdb.ResolvedEvent
	for {
		found, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
}

func read(stream string) ([]*kurrentdb.ResolvedEvent, error) {
	options := kurrentdb.ReadStreamOptions{From: kurrentdb.Start{}}
	return collect(client.ReadStream(background(), stream, options, everything))
}

func kinds(all []*kurrentdb.ResolvedEvent) string {
	var found []string
	for _, one := range all {
		found = append(found, one.Event.EventType)
	}
	return strings.Join(found, " ")
}

func next(subscription *kurrentdb.Subscription) *kurrentdb.RecordedEvent {
	for {
		found := subscription.Recv()
		if found.SubscriptionDropped != nil {
			panic(found.SubscriptionDropped.Error)
		}
		if found.EventAppeared != nil {
			return found.EventAppeared.Event
		}
	}
}

func due(subscription *kurrentdb.PersistentSubscription) (*kurrentdb.ResolvedEvent, int) {
	found := subscription.Recv()
	if found.SubscriptionDropped != nil {
		panic(found.SubscriptionDropped.Error)
	}
	return found.EventAppeared.Event, found.EventAppeared.RetryCount
}

func restart() {
	fmt.Println("RESTART")
	line, err := input.ReadString('\n')
	expect(err == nil && line == "restarted\n", line, err)
}

func connectAndDiscover() {
	version := must(client.GetServerVersion())
	expect(version.IsAtLeast(26, 1, 0), *version)
	stream := name()
	for _, uri := range []string{
		"kurrentdb+discover://" + address + "?tls=false",
		"kurrentdb://" + address + "," + address + "?tls=false",
	} {
		found := connect(uri)
		must(found.AppendToStream(background(), stream, kurrentdb.AppendToStreamOptions{}, event("A")))
		found.Close()
	}
	expect(kinds(must(read(stream))) == "A A", "two events")
}

func appendAndRead() {
	stream := name()
	first := event("A")
	first.Metadata = []byte(`{"$correlationId":"c"}`)
	second := kurrentdb.EventData{EventID: uuid.New(), EventType: "B", Data: []byte{0, 1, 255}, Metadata: []byte{9, 255}}
	written := add(stream, kurrentdb.NoStream{}, first, second)
	expect(written.NextExpectedVersion == 1, written.NextExpectedVersion)
	later := add(stream, kurrentdb.Revision(1), event("C"))
	expect(later.CommitPosition > written.CommitPosition, "positions ascend")
	all := must(read(stream))
	expect(kinds(all) == "A B C", kinds(all))
	a, b := all[0].Event, all[1].Event
	expect(a.EventID == first.EventID && a.EventNumber == 0 && b.EventNumber == 1, "ids and numbers")
	expect(bytes.Equal(a.UserMetadata, first.Metadata) && a.ContentType == "application/json", a.ContentType)
	expect(bytes.Equal(b.Data, second.Data) && bytes.Equal(b.UserMetadata, second.Metadata), "bytes")
	expect(b.ContentType == "application/octet-stream", b.ContentType)
	expect(time.Since(a.CreatedDate).Abs() < time.Minute, a.CreatedDate)
	back := kurrentdb.ReadStreamOptions{Direction: kurrentdb.Backwards, From: kurrentdb.End{}}
	found := must(collect(client.ReadStream(background(), stream, back, 2)))
	expect(kinds(found) == "C B", kinds(found))
	rest := kurrentdb.ReadStreamOptions{From: kurrentdb.Revision(1)}
	found = must(collect(client.ReadStream(background(), stream, rest, everything)))
	expect(kinds(found) == "B C", kinds(found))
}

func conflict() {
	stream := name()
	add(stream, kurrentdb.NoStream{}, event("A"))
	for _, state := range []kurrentdb.StreamState{kurrentdb.NoStream{}, kurrentdb.Revision(5)} {
		fails(kurrentdb.ErrorCodeWrongExpectedVersion, try(stream, state, event("B")))
	}
	fails(kurrentdb.ErrorCodeWrongExpectedVersion, try(name(), kurrentdb.StreamExists{}, event("B")))
}

func retry() {
	stream := name()
	both := events("A", "B")
	for _, state := range []kurrentdb.StreamState{kurrentdb.Any{}, kurrentdb.NoStream{}} {
		first := add(stream, state, both...)
		again := add(stream, state, both...)
		expect(*first == *again, *first, *again)
	}
	add(name(), kurrentdb.Any{}, both...)
	expect(len(must(read(stream))) == 2, "stored once")
}

func many() {
	stream := name()
	all := make([]kurrentdb.EventData, 3_000)
	for i := range all {
		all[i] = event("Many")
		all[i].Data = []byte(`"` + strings.Repeat("x", 500) + `"`)
	}
	add(stream, kurrentdb.NoStream{}, all...)
	found := must(read(stream))
	expect(len(found) == len(all) && found[2_999].Event.EventID == all[2_999].EventID, len(found))
}

func readAll() {
	stream := name()
	written := add(stream, kurrentdb.Any{}, events("A", "B")...)
	at := kurrentdb.Position{Commit: written.CommitPosition, Prepare: written.PreparePosition}
	back := kurrentdb.ReadAllOptions{Direction: kurrentdb.Backwards, From: kurrentdb.End{}}
	expect(kinds(must(collect(client.ReadAll(background(), back, 1)))) == "B", "the last event")
	inclusive := kurrentdb.ReadAllOptions{From: at}
	expect(must(collect(client.ReadAll(background(), inclusive, everything)))[0].Event.EventType == "B", "inclusive")
	start := kurrentdb.ReadAllOptions{From: kurrentdb.Start{}}
	expect(len(must(collect(client.ReadAll(background(), start, 3)))) == 3, "three")
}

func subscribeThroughARestart() {
	stream := name()
	add(stream, kurrentdb.Any{}, events("E0", "E1")...)
	options := kurrentdb.SubscribeToStreamOptions{From: kurrentdb.Start{}}
	first := must(client.SubscribeToStream(context.Background(), stream, options))
	seen := []*kurrentdb.RecordedEvent{next(first), next(first)}
	restart()
	for dropped := false; !dropped; {
		dropped = first.Recv().SubscriptionDropped != nil
	}
	for tries := 0; ; tries++ {
		err := try(stream, kurrentdb.Revision(1), event("E2"))
		if err == nil {
			break
		}
		expect(tries < 50, err)
		time.Sleep(200 * time.Millisecond)
	}
	options.From = kurrentdb.Revision(seen[1].EventNumber)
	rest := must(client.SubscribeToStream(context.Background(), stream, options))
	defer rest.Close()
	found := next(rest)
	expect(found.EventType == "E2" && found.EventNumber == 2, found.EventType)
}

func subscribeToAll() {
	stream := name()
	before := add("other-"+stream, kurrentdb.Any{}, events("A", "B", "C", "D", "E", "F")...)
	subscription := must(client.SubscribeToAll(context.Background(), kurrentdb.SubscribeToAllOptions{
		From:            kurrentdb.Start{},
		MaxSearchWindow: 1, CheckpointInterval: 2,
		Filter: &kurrentdb.SubscriptionFilter{Type: kurrentdb.StreamFilterType, Prefixes: []string{stream}},
	}))
	defer subscription.Close()
	add(stream, kurrentdb.Any{}, event("Mine"))
	var checkpoints []uint64
	caughtUp := false
	for {
		found := subscription.Recv()
		if found.SubscriptionDropped != nil {
			panic(found.SubscriptionDropped.Error)
		}
		caughtUp = caughtUp || found.CaughtUp != nil
		if found.CheckPointReached != nil {
			checkpoints = append(checkpoints, found.CheckPointReached.Commit)
		}
		if found.EventAppeared != nil {
			expect(found.EventAppeared.Event.EventType == "Mine", found.EventAppeared.Event.EventType)
			break
		}
	}
	expect(len(checkpoints) > 0 && checkpoints[0] <= before.CommitPosition, checkpoints)
	expect(slices.IsSorted(checkpoints) && len(slices.Compact(checkpoints)) == len(checkpoints), checkpoints)
	regex := must(client.SubscribeToAll(context.Background(), kurrentdb.SubscribeToAllOptions{
		From:   kurrentdb.Position{Commit: before.CommitPosition, Prepare: before.PreparePosition},
		Filter: &kurrentdb.SubscriptionFilter{Type: kurrentdb.EventFilterType, Regex: `^(?!(\$|A)).*ne$`},
	}))
	defer regex.Close()
	expect(next(regex).EventType == "Mine", "by a regular expression")
}

func group(stream string, settings kurrentdb.PersistentSubscriptionSettings) string {
	options := kurrentdb.PersistentStreamSubscriptionOptions{Settings: &settings, StartFrom: kurrentdb.Start{}}
	check(client.CreatePersistentSubscription(background(), stream, "workers", options))
	return "workers"
}

func subscribe(stream, group string) *kurrentdb.PersistentSubscription {
	options := kurrentdb.SubscribeToPersistentSubscriptionOptions{}
	return must(client.SubscribeToPersistentSubscription(context.Background(), stream, group, options))
}

func persistentSubscription() {
	stream := name()
	add(stream, kurrentdb.Any{}, events("E0", "E1", "E2", "E3", "E4")...)
	settings := kurrentdb.SubscriptionSettingsDefault()
	settings.MaxRetryCount = 2
	group := group(stream, settings)
	again := kurrentdb.PersistentStreamSubscriptionOptions{Settings: &settings}
	fails(kurrentdb.ErrorCodeResourceAlreadyExists, client.CreatePersistentSubscription(background(), stream, group, again))
	consumer := subscribe(stream, group)
	var seen []string
	for len(seen) < 6 {
		found, retries := due(consumer)
		kind := found.Event.EventType
		seen = append(seen, fmt.Sprint(kind, " ", retries))
		switch {
		case kind == "E1" && retries == 0:
			check(consumer.Nack("again", kurrentdb.NackActionRetry, found))
		case kind == "E2":
			check(consumer.Nack("later", kurrentdb.NackActionPark, found))
		case kind == "E3":
			check(consumer.Nack("never", kurrentdb.NackActionSkip, found))
		default:
			check(consumer.Ack(found))
		}
	}
	expect(slices.Contains(seen, "E1 1"), seen)
	look := kurrentdb.GetPersistentSubscriptionOptions{}
	for tries := 0; ; tries++ {
		info := must(client.GetPersistentSubscriptionInfo(background(), stream, group, look))
		if info.Stats.ParkedMessagesCount == 1 {
			expect(info.EventSource == stream && info.GroupName == group && len(info.Connections) == 1, *info)
			break
		}
		expect(tries < 200, *info.Stats)
		time.Sleep(50 * time.Millisecond)
	}
	check(client.ReplayParkedMessages(background(), stream, group, kurrentdb.ReplayParkedMessagesOptions{}))
	parked, _ := due(consumer)
	expect(parked.Event.EventType == "E2", parked.Event.EventType)
	check(consumer.Ack(parked))
	check(consumer.Close())
	settings.MaxRetryCount = 7
	check(client.UpdatePersistentSubscription(background(), stream, group, again))
	list := must(client.ListPersistentSubscriptionsForStream(background(), stream, kurrentdb.ListPersistentSubscriptionsOptions{}))
	expect(len(list) == 1 && list[0].Settings.MaxRetryCount == 7, list)
	remove := kurrentdb.DeletePersistentSubscriptionOptions{}
	check(client.DeletePersistentSubscription(background(), stream, group, remove))
	fails(kurrentdb.ErrorCodeResourceNotFound, client.DeletePersistentSubscription(background(), stream, group, remove))
}

func persistentSubscriptionToAll() {
	stream, group := name(), "all-"+uuid.NewString()
	before := add(stream, kurrentdb.Any{}, event("Before"))
	for _, strategy := range []kurrentdb.ConsumerStrategy{
		kurrentdb.ConsumerStrategyRoundRobin, kurrentdb.ConsumerStrategyDispatchToSingle,
		kurrentdb.ConsumerStrategyPinned, kurrentdb.ConsumerStrategyPinnedByCorrelation,
	} {
		settings := kurrentdb.SubscriptionSettingsDefault()
		settings.ConsumerStrategyName = strategy
		check(client.CreatePersistentSubscriptionToAll(background(), group, kurrentdb.PersistentAllSubscriptionOptions{
			Settings:  &settings,
			StartFrom: kurrentdb.Position{Commit: before.CommitPosition, Prepare: before.PreparePosition},
			Filter:    &kurrentdb.SubscriptionFilter{Type: kurrentdb.StreamFilterType, Prefixes: []string{stream}},
		}))
		add(stream, kurrentdb.Any{}, event(string(strategy)))
		options := kurrentdb.SubscribeToPersistentSubscriptionOptions{}
		consumer := must(client.SubscribeToPersistentSubscriptionToAll(context.Background(), group, options))
		for last := ""; last != string(strategy); {
			found, _ := due(consumer)
			check(consumer.Ack(found))
			last = found.Event.EventType
		}
		check(consumer.Close())
		info := must(client.GetPersistentSubscriptionInfoToAll(background(), group, kurrentdb.GetPersistentSubscriptionOptions{}))
		expect(info.Settings.ConsumerStrategyName == strategy, info.Settings.ConsumerStrategyName)
		remove := kurrentdb.DeletePersistentSubscriptionOptions{}
		check(client.DeletePersistentSubscriptionToAll(background(), group, remove))
	}
}

func aKilledConsumer() {
	stream := name()
	add(stream, kurrentdb.Any{}, events("E0", "E1", "E2")...)
	group := group(stream, kurrentdb.SubscriptionSettingsDefault())
	killed := exec.Command(os.Args[0], stream, group)
	output := must(killed.StdoutPipe())
	check(killed.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	expect(err == nil && line == "holding\n", line, err)
	check(killed.Process.Kill())
	_ = killed.Wait()
	consumer := subscribe(stream, group)
	defer consumer.Close()
	seen := map[string]bool{}
	for len(seen) < 3 {
		found, _ := due(consumer)
		seen[found.Event.EventType] = true
		check(consumer.Ack(found))
	}
}

// holdEvents takes three events and keeps them until the process is killed.
func holdEvents(stream, group string) {
	consumer := subscribe(stream, group)
	for range 3 {
		due(consumer)
	}
	fmt.Println("holding")
	select {}
}

func metadata() {
	stream := name()
	add(stream, kurrentdb.Any{}, events("A", "B", "C")...)
	var asked kurrentdb.StreamMetadata
	asked.SetMaxCount(2)
	asked.SetMaxAge(time.Hour)
	asked.AddCustomProperty("mine", "x")
	must(client.SetStreamMetadata(background(), stream, kurrentdb.AppendToStreamOptions{}, asked))
	found := must(client.GetStreamMetadata(background(), stream, kurrentdb.ReadStreamOptions{}))
	expect(*found.MaxCount() == 2 && *found.MaxAge() == time.Hour && found.CustomProperty("mine") == "x", *found)
	expect(kinds(must(read(stream))) == "B C", "two are left")
}

func deleteAndTombstone() {
	stream := name()
	_, err := read(stream)
	fails(kurrentdb.ErrorCodeResourceNotFound, err)
	add(stream, kurrentdb.NoStream{}, events("A", "B")...)
	options := kurrentdb.DeleteStreamOptions{StreamState: kurrentdb.Revision(0)}
	// This client has no code for a conflict of a deletion.
	_, err = client.DeleteStream(background(), stream, options)
	expect(err != nil, "deleted at another revision")
	options.StreamState = kurrentdb.Revision(1)
	must(client.DeleteStream(background(), stream, options))
	_, err = read(stream)
	fails(kurrentdb.ErrorCodeResourceNotFound, err)
	add(stream, kurrentdb.NoStream{}, event("Again"))
	found := must(read(stream))
	expect(kinds(found) == "Again" && found[0].Event.EventNumber == 2, kinds(found))
	must(client.TombstoneStream(background(), stream, kurrentdb.TombstoneStreamOptions{}))
	_, err = read(stream)
	fails(kurrentdb.ErrorCodeStreamDeleted, err)
	fails(kurrentdb.ErrorCodeStreamDeleted, try(stream, kurrentdb.Any{}, event("Late")))
}

func links() {
	category := "linked" + strings.ReplaceAll(uuid.NewString(), "-", "")
	add(category+"-1", kurrentdb.Any{}, events("A", "B")...)
	options := kurrentdb.ReadStreamOptions{From: kurrentdb.Start{}, ResolveLinkTos: true}
	found := must(collect(client.ReadStream(background(), "$ce-"+category, options, everything)))
	expect(kinds(found) == "A B" && found[0].Link != nil && found[0].Link.EventType == "$>", kinds(found))
}

func severalStreams() {
	a, b := name(), name()
	first := event("A")
	first.Metadata = []byte(`{"p":"x"}`)
	requests := []kurrentdb.AppendStreamRequest{
		{StreamName: a, Events: slices.Values([]kurrentdb.EventData{first}), ExpectedStreamState: kurrentdb.NoStream{}},
		{StreamName: b, Events: slices.Values(events("B")), ExpectedStreamState: kurrentdb.Any{}},
	}
	appended := must(client.MultiStreamAppend(background(), slices.Values(requests)))
	expect(len(appended.Responses) == 2 && appended.Position > 0, *appended)
	expect(bytes.Contains(must(read(a))[0].Event.UserMetadata, []byte(`"p":"x"`)), "the property")
	late := kurrentdb.AppendStreamRequest{
		StreamName: a, Events: slices.Values(events("C")), ExpectedStreamState: kurrentdb.Revision(7),
	}
	_, err := client.MultiStreamAppend(background(), slices.Values([]kurrentdb.AppendStreamRequest{late}))
	fails(kurrentdb.ErrorCodeStreamRevisionConflict, err)
	_, err = client.AppendRecords(background(), []kurrentdb.AppendRecord{{Stream: a, Record: event("C")}},
		kurrentdb.StreamStateCheck{Stream: b, ExpectedState: kurrentdb.NoStream{}})
	fails(kurrentdb.ErrorCodeAppendConsistencyViolation, err)
	must(client.AppendRecords(background(), []kurrentdb.AppendRecord{
		{Stream: a, Record: event("C")}, {Stream: b, Record: event("D")}, {Stream: a, Record: event("E")},
	}))
	expect(kinds(must(read(a))) == "A C E", kinds(must(read(a))))
}

func run(step string, does func()) {
	said := map[string]any{"step": step, "ok": true}
	defer func() {
		if failure := recover(); failure != nil {
			said["ok"], said["error"] = false, fmt.Sprint(failure)
		}
		fmt.Println(string(must(json.Marshal(said))))
	}()
	does()
}

func main() {
	client = connect("kurrentdb://" + address + "?tls=false")
	if len(os.Args) == 3 {
		holdEvents(os.Args[1], os.Args[2])
	}
	run("connect and discover", connectAndDiscover)
	run("append and read", appendAndRead)
	run("conflict", conflict)
	run("retry", retry)
	run("many", many)
	run("read all", readAll)
	run("subscribe through a restart", subscribeThroughARestart)
	run("subscribe to all", subscribeToAll)
	run("persistent subscription", persistentSubscription)
	run("persistent subscription to all", persistentSubscriptionToAll)
	run("a killed consumer", aKilledConsumer)
	run("metadata", metadata)
	run("delete and tombstone", deleteAndTombstone)
	run("links", links)
	run("several streams", severalStreams)
	client.Close()
}
