// Package faults has the tests of what the Kafka adapter does when processes are killed, brokers die and
// connections break. Each keeps a ledger; RELIABILITY is what they show, by the names of docs/guarantees.md.
package faults
