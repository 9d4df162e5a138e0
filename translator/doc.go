// Package translator makes messages of one type into messages of another.
//
// How do applications that use different data talk to each other? A translator stands between them,
// and neither knows the other's type.
//
//	Order --[a|b]--> Invoice      [Map]  one message in, one message out
//
//	translator.Map(toInvoice, Invoices) // toInvoice is a func(Order) (Invoice, error)
//
// Delivery: the new message inherits the old one's headers and key, except those that speak of the old
// payload; an error of your function is the message's. Concurrency: your function is called by many
// goroutines at once, and again on a retry: let it only compute. State: none.
package translator
