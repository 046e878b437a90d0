// What Go's SDK of CloudEvents sees: what it sent, in the structured and the binary mode; and what a
// client of Server-Sent Events sees of a stream through a restart. Prints a line of JSON for each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/launchdarkly/eventsource"
)

type fact struct {
	ID      string `json:"id"`
	Example string `json:"example"`
	Data    string `json:"data"`
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	base := "http://" + os.Getenv("ANNALS_ADDRESS")
	values := map[string]struct {
		kind string
		data []byte
	}{
		"json":  {"application/json", []byte(`{"a":1,"big":12345678901234567890}`)},
		"text":  {"text/plain", []byte("h\u00e9")},
		"bytes": {"image/png", []byte{0, 1, 10}},
	}
	facts := map[string]fact{}
	for name, value := range values {
		for _, mode := range []string{"structured", "binary"} {
			event := cloudevents.NewEvent()
			event.SetID("go-" + name + "-" + mode)
			event.SetSource("/sdk")
			event.SetType("t")
			event.SetExtension("comexample", "Euro \u20ac")
			if err := event.SetData(value.kind, value.data); err != nil {
				panic(err)
			}
			facts[name+", "+mode] = roundTrip(base, event, mode)
		}
	}
	line := must(json.Marshal(map[string]any{"cloudevents": facts}))
	var flat map[string]map[string]any
	if err := json.Unmarshal(line, &flat); err != nil {
		panic(err)
	}
	flat["cloudevents"]["what"] = "cloudevents"
	fmt.Println(string(must(json.Marshal(flat["cloudevents"]))))
	followed := map[string]any{"what": "eventsource", "seen": follow(base)}
	fmt.Println(string(must(json.Marshal(followed))))
}

// The client connects anew by itself, with the last id that it has seen.
func follow(base string) []string {
	store(base, "A")
	store(base, "B")
	url := base + "/v1/subscribe?stream=go-followed"
	goOn := func(error) eventsource.StreamErrorHandlerResult {
		return eventsource.StreamErrorHandlerResult{}
	}
	stream := must(eventsource.SubscribeWithURL(url, eventsource.StreamOptionErrorHandler(goOn)))
	defer stream.Close()
	seen := []string{}
	hasRestarted := false
	for event := range stream.Events {
		if event.Event() == "" || event.Event() == "message" {
			var told struct{ Type string }
			if err := json.Unmarshal([]byte(event.Data()), &told); err != nil {
				panic(err)
			}
			seen = append(seen, told.Type)
			if told.Type == "C" {
				break
			}
		}
		if event.Event() == "caught_up" && !hasRestarted {
			hasRestarted = true
			fmt.Println("RESTART")
			must(bufio.NewReader(os.Stdin).ReadString('\n'))
			store(base, "C")
		}
	}
	return seen
}

func store(base string, kind string) {
	body := fmt.Sprintf(`{"stream":"go-followed","events":[{"type":%q}]}`, kind)
	url := base + "/annals.v1.EventStoreService/Append"
	stored := must(http.Post(url, "application/json", strings.NewReader(body)))
	defer stored.Body.Close()
	if stored.StatusCode != 200 {
		panic(stored.Status)
	}
}

func roundTrip(base string, event cloudevents.Event, mode string) fact {
	ctx := binding.WithForceBinary(context.Background())
	accept := "*/*"
	if mode == "structured" {
		ctx = binding.WithForceStructured(context.Background())
		accept = "application/cloudevents+json"
	}
	request := must(http.NewRequest(http.MethodPost, base+"/v1/events", nil))
	if err := cehttp.WriteRequest(ctx, binding.ToMessage(&event), request); err != nil {
		panic(err)
	}
	stored := must(http.DefaultClient.Do(request))
	defer stored.Body.Close()
	var answer struct{ LastPosition string }
	if err := json.NewDecoder(stored.Body).Decode(&answer); err != nil || stored.StatusCode != 200 {
		panic(fmt.Sprint(stored.Status, err))
	}
	read := must(http.NewRequest(http.MethodGet, base+"/v1/events/"+answer.LastPosition, nil))
	read.Header.Set("accept", accept)
	told := must(http.DefaultClient.Do(read))
	defer told.Body.Close()
	message := cehttp.NewMessageFromHttpResponse(told)
	back := must(binding.ToEvent(context.Background(), message))
	example, _ := back.Extensions()["comexample"].(string)
	return fact{ID: back.ID(), Example: example, Data: string(back.Data())}
}
