package main

import (
	"context"
	"fmt"
	"sync"

	"cartwheel/bench/kvv1"
)

const (
	// A frame is closed at so many bytes, or when nothing more waits to be sent.
	frameBytes          = 256 << 10
	operationExtraBytes = 64 // of an operation beside its key, value and context, at most
)

// A session carries operations of many goroutines over one Session stream: what waits while a message is being sent
// goes out together in the next one. No timers.
//
// I1 No more than the server's max_in_flight operations are unanswered or waiting.
// I2 An operation ends with its result, or with errLost when the stream has ended; the session is not opened again,
// because a measurement across that would be none.
type session struct {
	slots   chan struct{} // I1
	out     chan *pending
	mutex   sync.Mutex
	waiting map[uint64]*pending // by operation id
	lost    error
}

type pending struct {
	operation *kvv1.Operation
	done      chan *kvv1.Result // closed without a result: the session is lost
}

func openSession(client kvv1.KeyValueServiceClient) (*session, error) {
	stream, err := client.Session(context.Background())
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&kvv1.SessionRequest{Hello: &kvv1.Hello{Client: "bench-generator/1"}}); err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return nil, fmt.Errorf("wanted a welcome first, saw %v", first)
	}
	capacity := max(1, int(welcome.MaxInFlight))
	s := &session{
		slots:   make(chan struct{}, capacity),
		out:     make(chan *pending, capacity),
		waiting: map[uint64]*pending{},
	}
	go s.send(stream, min(frameBytes, int(welcome.MaxMessageBytes)))
	go s.receive(stream)
	return s, nil
}

func (s *session) do(operation *kvv1.Operation) (*kvv1.Result, error) {
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	p := &pending{operation, make(chan *kvv1.Result, 1)}
	s.out <- p // has room for as many as there are slots
	result, ok := <-p.done
	if !ok {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		return nil, fmt.Errorf("%w: %w", errLost, s.lost)
	}
	if failure := result.GetError(); failure != nil {
		return nil, fmt.Errorf("%v: %s", failure.Reason, failure.Message)
	}
	return result, nil
}

type sessionStream interface {
	Send(*kvv1.SessionRequest) error
	Recv() (*kvv1.SessionResponse, error)
}

func (s *session) send(stream sessionStream, frameBytes int) {
	var lastID uint64
	var held *pending // did not fit into the frame before
	for {
		next := held
		if next == nil {
			next = <-s.out
		}
		held = nil
		var frame []*pending
		bytes := 0
		for next != nil {
			bytes += sizeOf(next.operation)
			if len(frame) > 0 && bytes > frameBytes {
				held = next
				break
			}
			frame = append(frame, next)
			select {
			case next = <-s.out:
			default:
				next = nil
			}
		}
		operations := make([]*kvv1.Operation, len(frame))
		s.mutex.Lock()
		for i, p := range frame {
			lastID++
			p.operation.Id = lastID
			operations[i] = p.operation
			s.waiting[lastID] = p
		}
		s.mutex.Unlock()
		// An error here ends the stream; receive learns why, and fails what waits, this frame included.
		_ = stream.Send(&kvv1.SessionRequest{Operations: operations})
		s.failIfLost()
	}
}

func (s *session) receive(stream sessionStream) {
	for {
		message, err := stream.Recv()
		if err == nil && message.GoAway != nil {
			err = fmt.Errorf("the server goes away: %s", message.GoAway.Reason)
		}
		s.mutex.Lock()
		if err != nil {
			s.lost = err
			s.mutex.Unlock()
			s.failIfLost()
			return
		}
		for _, result := range message.Results {
			if p := s.waiting[result.Id]; p != nil {
				delete(s.waiting, result.Id)
				p.done <- result
			}
		}
		s.mutex.Unlock()
	}
}

// failIfLost ends all that waits for an answer which will not come.
func (s *session) failIfLost() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.lost == nil {
		return
	}
	for id, p := range s.waiting {
		delete(s.waiting, id)
		close(p.done)
	}
}

func sizeOf(operation *kvv1.Operation) int {
	get, put := operation.GetGet(), operation.GetPut()
	return operationExtraBytes + len(get.GetKey()) + len(put.GetKey()) + len(put.GetValue()) + len(put.GetContext())
}
