package main

import (
	"slices"

	"github.com/leat-go/leat/bench/measure"
)

// allRows is the table, from top to bottom. Rows that need a broker come last, and share it. Rows that
// remember ids share that many different ones.
func allRows(different int, k *cluster) []measure.Row {
	ids := &identities{n: different}
	return slices.Concat(
		[]measure.Row{hopsRow(fewWindow), hopsRow(0), aloneRow(fewWindow), aloneRow(0)},
		[]measure.Row{contentRow(), translateRow(), recipientsRow()},
		[]measure.Row{splitRow(ids), aggregateRow(ids), idempotentRow(ids)},
		[]measure.Row{tracedRow()},
		kafkaRows(k, ids),
	)
}

func kafkaRows(k *cluster, ids *identities) []measure.Row {
	return []measure.Row{
		publishRow(k, ids, shape{1, 100}, measure.Must{Ceiling: 0.8, Rival: 12}),
		publishRow(k, ids, shape{1, 1000}, measure.Must{Ceiling: 0.8}),
		publishRow(k, ids, shape{64, 1}, measure.Must{Ceiling: 0.8}),
		consumeRow(k),
		millisecondRow(k),
		tenMillisecondsRow(k),
		pipelineRow(k),
		exactlyOnceRow(k),
	}
}

// camels is why rows in the process ask for nothing yet.
const camels = "it is held to a multiple of the rates that Apache Camel publishes, and Camel does not run here"
