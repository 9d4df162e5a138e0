// Package hostile is tests of the Kafka adapter in one process, on a cluster, a network and with records that
// mean no good: leaders that move, connections that hang or are reset, answers that refuse, batches that
// explode. Each keeps books, and the books must add up. LEAT_SOAK has them run in their long form.
package hostile
