package main

import (
	"slices"

	"github.com/leat-go/leat/bench/measure"
)

// allRows is the table, from top to bottom. Rows that need a broker come last; each has a file of its own
// and says in Needs which variable of the environment has the broker's address. Rows that remember ids
// share that many different ones.
func allRows(different int) []measure.Row {
	ids := &identities{n: different}
	return slices.Concat(
		[]measure.Row{hopsRow(fewWindow), hopsRow(0), aloneRow(fewWindow), aloneRow(0)},
		[]measure.Row{contentRow(), translateRow(), recipientsRow()},
		[]measure.Row{splitRow(ids), aggregateRow(ids), idempotentRow(ids)},
		[]measure.Row{tracedRow()},
	)
}

// camels is why rows in the process ask for nothing yet.
const camels = "it is held to a multiple of the rates that Apache Camel publishes, and Camel does not run here"
