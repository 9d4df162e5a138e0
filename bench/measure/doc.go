// Package measure runs contestants at the same work, by turns, and prints how many times as fast as the
// others each of ours is.
//
// How fast is it, on a machine whose speed changes by the hour? Only ratios count, and only those of one
// run: in each round every contestant of a row runs once, in an order drawn anew, so that whatever else
// the machine does hits all of them.
//
//	round 1:  rival  ours  ceiling        rate of ours / rate of rival ──▶ ratio 1
//	round 2:  ours  ceiling  rival                                     ──▶ ratio 2
//	...                                   the table has the median of the ratios
//
// A measurement counts what came out at the end. A contestant that loses a message, or makes one up, fails
// the row.
package measure
