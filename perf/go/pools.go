// pools: what Go programs pool objects with, in four shapes, each written here as small as it can be.
package main

import (
	"errors"
	"sync"
)

type object struct {
	value uint64
}

func (o *object) use() { o.value++ }

// pool is one shape: oneUse gets an object, uses it and gives it back.
type pool interface {
	oneUse()
}

// The standard library's: a cache per processor, emptied by the garbage collector.
type syncPool struct {
	idle sync.Pool
}

func newSyncPool(int) pool {
	return &syncPool{sync.Pool{New: func() any { return new(object) }}}
}

func (p *syncPool) oneUse() {
	o := p.idle.Get().(*object)
	o.use()
	p.idle.Put(o)
}

// Objects in a buffered channel: getting one waits for it, putting it back resets it.
type channelPool struct {
	idle  chan *object
	reset func(*object)
}

func newChannelPool(objects int) pool {
	p := &channelPool{make(chan *object, objects), func(o *object) {}}
	for i := 0; i < objects; i++ {
		p.idle <- new(object)
	}
	return p
}

func (p *channelPool) oneUse() {
	o := <-p.idle
	o.use()
	p.reset(o)
	p.idle <- o
}

// Objects in a slice under a mutex, with a condition for those who find it empty.
type slicePool struct {
	mutex sync.Mutex
	some  *sync.Cond
	idle  []*object
}

func newSlicePool(objects int) pool {
	p := &slicePool{}
	p.some = sync.NewCond(&p.mutex)
	for i := 0; i < objects; i++ {
		p.idle = append(p.idle, new(object))
	}
	return p
}

func (p *slicePool) oneUse() {
	p.mutex.Lock()
	for len(p.idle) == 0 {
		p.some.Wait()
	}
	last := len(p.idle) - 1
	o := p.idle[last]
	p.idle = p.idle[:last]
	p.mutex.Unlock()
	o.use()
	p.mutex.Lock()
	p.idle = append(p.idle, o)
	p.mutex.Unlock()
	p.some.Signal()
}

// A pool of connections: takes one from the channel or makes one, never waits, and hands it out in a wrapper
// whose Close puts it back, or closes it if the channel is full. Close of the pool takes the channel away, so
// every use of it is under a lock.
type connectionPool struct {
	mutex   sync.RWMutex
	idle    chan *object
	factory func() (*object, error)
}

type connection struct {
	*object
	mutex    sync.RWMutex
	home     *connectionPool
	unusable bool
}

var errClosed = errors.New("pool is closed")

func newConnectionPool(objects int) pool {
	p := &connectionPool{idle: make(chan *object, objects), factory: func() (*object, error) { return new(object), nil }}
	for i := 0; i < objects; i++ {
		p.idle <- new(object)
	}
	return p
}

func (p *connectionPool) parts() (chan *object, func() (*object, error)) {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	return p.idle, p.factory
}

func (p *connectionPool) get() (*connection, error) {
	idle, factory := p.parts()
	if idle == nil {
		return nil, errClosed
	}
	select {
	case o := <-idle:
		return &connection{object: o, home: p}, nil
	default:
		o, err := factory()
		if err != nil {
			return nil, err
		}
		return &connection{object: o, home: p}, nil
	}
}

func (c *connection) close() {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	if c.unusable {
		return
	}
	c.home.put(c.object)
}

func (p *connectionPool) put(o *object) {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	if p.idle == nil {
		return
	}
	select {
	case p.idle <- o:
	default: // full: the object is dropped
	}
}

func (p *connectionPool) oneUse() {
	c, err := p.get()
	if err != nil {
		panic(err)
	}
	c.use()
	c.close()
}
