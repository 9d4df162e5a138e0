package main

import (
	"slices"
	"testing"

	"github.com/leat-go/leat/channel"
)

func TestRecipientsAreThree(t *testing.T) {
	o := &order{ID: "1"}
	r, err := toThree{}.Process(channel.NewMessage("1", o))
	if err != nil {
		t.Fatal(err)
	}
	var topics []string
	for i := range r.Len() {
		d := r.At(i)
		topics = append(topics, d.Topic())
		if d.Body() != any(o) {
			t.Errorf("%s gets %v, want the order as it is", d.Topic(), d.Body())
		}
	}
	if want := []string{string(billing), string(shipping), string(stock)}; !slices.Equal(topics, want) {
		t.Errorf("sent to %v, want %v", topics, want)
	}
}
