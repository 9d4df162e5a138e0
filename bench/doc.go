// Bench runs Leat beside its rivals and beside the same work by hand, and prints how many times as fast it
// is: one table, all of it from one run.
//
//	go run .                            # all rows, about three minutes
//	go run . -rows 'hops|alone'         # some
//	go run . -rounds 11 -time 3s        # longer, on a machine that others use too
//	go run . -rows kafka -rounds 3      # those about Kafka, which is started for it
//	go run . -json                      # for machines
//
// A must that is missed is marked in the table. The program fails only where a row could not be measured: a
// contestant that lost a message, say.
//
// A row is a measure.Row, in a file of its own, and stands in the list in rows.go. Package measure says how
// rows are run.
package main
