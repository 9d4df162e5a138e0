package faults_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// What is done to a paper on the topic papers; those with a mark end in the dead letter.
var clerical = channel.Fields{
	{Name: "panic", Value: "dies"},
	{Name: "panic pointer", Value: "dies"},
	{Name: "panic bytes", Value: "dies"},
	{Name: "panic error", Value: "dies"},
	{Name: "type assertion", Value: "dies"},
	{Name: "error", Value: "dies"},
	{Name: "header", Value: "dies"},
	{Name: "header of many", Value: "dies"},
	{Name: "bad header", Value: "dies"},
	{Name: "undeclared", Value: "dies"},
	{Name: "of another type", Value: "dies"},
	{Name: "unsaid", Value: "dies"},
	{Name: "stream", Value: "dies"},
	{Name: "dead", Value: "dies"},
	{Name: "too large", Value: "dies"},
	{Name: "header too large", Value: "dies"},
	{Name: "encode", Value: "dies"},
	{Name: "encode over a direct hop", Value: "dies"},
	{Name: "behind", Value: "dies"},
	{Name: "panic behind", Value: "dies"},
	{Name: "later"},
	{Name: "drop"},
	{Name: ""},
}

// sendPapers publishes papers with every fault, and such as are none.
func sendPapers(w *world, secret string) {
	w.t.Helper()
	n := 0
	put := func(topic, id, payload string, dies bool, headers ...string) {
		n++
		m := message.NewMessage(id, []byte(payload))
		for _, name := range []string{
			"authorization", "x-token", "item-of", channel.HeaderSchema, channel.HeaderReason, channel.HeaderOriginal,
			channel.HeaderSequence, channel.HeaderSequenceIndex, channel.HeaderSequenceSize, channel.HeaderSequenceOuter,
			channel.HeaderCompleted, channel.HeaderHistory, channel.HeaderKey, "leat-dead-error", "leat-anything",
		} {
			m.Metadata[name] = secret
		}
		if w.rnd.IntN(2) == 0 { // by itself
			m.Metadata[channel.HeaderKey] = "key " + secret
		}
		for i := 0; i+1 < len(headers); i += 2 {
			m.Metadata[headers[i]] = headers[i+1]
		}
		m.Metadata["item"] = id
		if err := w.broker.Publisher().Publish(topic, m); err != nil {
			w.t.Fatal(err)
		}
		w.ledger.published(id, "")
		w.ledger.repeats(id)
		if dies {
			w.ledger.dies(id)
		}
	}
	body := func(id, fault, group string) string {
		return string(encode(paper{item: item{ID: id, Fault: fault, Group: group}, Secret: secret}))
	}
	for i, f := range clerical {
		id := fmt.Sprint("c", i)
		put(string(papers), id, body(id, f.Name, ""), f.Value != "")
	}
	text, _ := json.Marshal(secret)
	for i, payload := range []string{
		secret, `{"secret":` + secret, `{"n":"` + secret + `"}`, `{"at":` + string(text) + `}`, `{"secret":{"` + secret + `":1}}`,
		`{"n":` + digits(secret+secret) + `}`, `["` + secret + `"]`, string(text), "\xff" + secret, `{"id":"x","` + secret + `":`,
	} {
		for topic, dies := range map[channel.Topic[paper]]bool{papers: true, direct: true, strict: false} {
			id := fmt.Sprint("d", i, topic)
			if !dies {
				w.ledger.mayDie(id)
				w.ledger.effect(id) // is on the invalid message channel
			}
			if topic == direct { // which nobody may publish on, if it is a hop in the process
				continue
			}
			put(string(topic), id, payload, dies)
		}
	}
	put(string(papers), "moody", body("moody", "", ""), true, channel.HeaderContentType, "application/moody")
	put(string(papers), "hops", body("hops", "", ""), false, channel.HeaderHops, "64")
	w.ledger.mayDie("hops") // if it leaves
	put(string(papers), "deadline", body("deadline", "", ""), true, channel.HeaderExpires, secret)
	put(string(papers), "expired", body("expired", "", ""), true, channel.HeaderExpires, "1999-01-01T00:00:00Z")
	put(string(strict), "late", body("late", "", ""), false, channel.HeaderExpires, "1999-01-01T00:00:00Z")
	w.ledger.effect("late")
	put(string(sorted), "lost", body("lost", "", ""), true)
	put(string(papers), "twice", body("twice", "", ""), false)
	put(string(papers), "twice", body("twice", "drop", ""), false) // another payload: a conflict
	w.ledger.mayDie("twice")
	for i, fault := range []string{"combine", "panic combine", "", "fold", ""} {
		topic := bundles
		if i > 2 {
			topic = sums
		}
		for _, f := range []string{"", fault} {
			id := fmt.Sprint("g", i, f)
			put(string(topic), id, body(id, f, fmt.Sprint("g", i)), f != "" || strings.Contains(fault, "combine"))
		}
	}
}
