/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life of a block of mm/transient_memmap, for the model checker spin
 *
 * Pins come and go, by GUP-fast and by populating, for as long as the range is
 * registered; pins wait at the cap; the pool keeps blocks and drops them whenever
 * it likes; the worker frees; the provider unregisters at any time. spin tries
 * every interleaving of the steps below. A step is one statement, or an atomic or
 * d_step; what comes from core.c and cache.c has the name that it has there.
 *
 * What has to hold:
 *
 * - A struct page that is touched is mapped: touch().
 * - A page is freed, and another one mapped in its place, only when no TLB can
 *   hold the old translation: block_free(), block_map().
 * - A link is on one list at a time: llist_add().
 * - Pool, states and locks are not touched once the range has gone: use_pool().
 * - At the end nothing is left: unregister().
 * - The end comes, as no process waits for ever: spin's invalid end states. A
 *   dying block that no work is queued for would be such a wait, for the pgmap's
 *   ref; or a pin at the cap that nobody serves, with a block dying or idle.
 *
 * For the latter, pins don't give up. With GIVE_UP they do at any time, as by
 * a fatal signal or their limit. Who unpins may be preempted for as long as a pin
 * waits, and whoever ages the cache comes too late for it: queue_worker(),
 * dropper().
 *
 * Not here: spare pages, lost wake-ups, and the order in which memory accesses
 * become visible: the steps are sequentially consistent, see core.c for its
 * barriers.
 *
 * Each other #ifdef leaves out a precaution, and the checker has to notice, see
 * tools/test/host/model.sh.
 */

#ifndef PINNERS
#define PINNERS	2
#endif
#ifndef BLOCKS
#define BLOCKS	1
#endif
#ifndef CAP
#define CAP	BLOCKS
#endif
#ifndef CACHE
#define CACHE	1
#endif
#define CPUS	2

/* enum transient_block_state */
mtype = { ABSENT, POPULATING, LIVE, HIDDEN, UNMAPPED };

/* Blocks */
mtype state[BLOCKS] = ABSENT;	/* sec->state */
byte ref[BLOCKS];		/* the folio's refcount */
bool linked[BLOCKS];		/* the folio's link is in use */
bool kept[BLOCKS];		/* on pool->cached */
bool mapped[BLOCKS];		/* in sec->ptes */
byte tlb[BLOCKS];		/* CPUs that may have it cached */
bool locked;			/* sec->lock, of one section for all */

/* The pool */
byte pgmap_ref = 1;
bool killed;			/* percpu_ref_kill(&pgmap->ref) */
bool gone;			/* tables and pool are freed */
byte cache = CACHE;
byte nr_kept;
byte dropping;			/* age_work and shrinker at work */
byte live;			/* the charges */
byte pages;			/* that blocks have */
chan waiters = [PINNERS] of { byte };	/* pool->waiters */
bool served[PINNERS];

/* Of all pools */
byte nr_waiters;
byte dying;			/* the list, a bit for each block */
bool pending;			/* free_work; its delay: steps may take any time */

/* RCU: a bit for each reader, and those that a grace period waits for */
byte readers;
byte gp_free;

#define BIT(n)		(1 << (n))
#define ALL_CPUS	(BIT(CPUS) - 1)

#define in_transit(b)	(state[b] == POPULATING || state[b] == UNMAPPED)
#define touch(b)	assert(mapped[b])
#define use_pool()	assert(!gone)

inline lock() { atomic { !locked -> use_pool(); locked = true } }
inline unlock() { d_step { use_pool(); locked = false } }

inline rcu_read_lock(me) { readers = readers | BIT(me) }

inline rcu_read_unlock(me)
{
	d_step {
		readers = readers & ~BIT(me);
		gp_free = gp_free & ~BIT(me)
	}
}

/* Waits for the readers of now, not for those that come later. */
inline synchronize_rcu(gp)
{
	gp = readers;
	gp == 0
}

/* The references of a block */

/* Needs a bool last. */
inline put_testzero(b)
{
	d_step {
		touch(b);
		assert(ref[b] > 0);
		ref[b]--;
		last = ref[b] == 0
	}
}

/* Needs a bool got. */
inline folio_try_get(b)
{
	d_step {
		touch(b);
		if
		:: ref[b] > 0 ->
			ref[b]++;
			got = true
		:: else
		fi
	}
}

/* Needs a bool first. */
inline llist_add(b)
{
	d_step {
		touch(b);
		assert(!linked[b]);
		linked[b] = true;
		first = dying == 0;
		dying = dying | BIT(b)
	}
}

/* With others, but not the one who waits or the worker, it may take long. */
inline queue_worker(preemptible)
{
	if
	:: pending = true
	:: preemptible && nr_waiters > 0 ->
		nr_waiters == 0;
		pending = true
	fi
}

/* transient_memmap_free_folio() */
inline free_folio(b, preemptible)
{
#ifdef QUEUE_BEFORE_ADD
	pending = true;
	llist_add(b);
#else
	llist_add(b);
	if
	:: first -> queue_worker(preemptible)
	:: else
	fi;
#endif
	first = false
}

inline folio_put(b, preemptible)
{
	put_testzero(b);
	if
	:: last ->
		last = false;
		free_folio(b, preemptible)
	:: else
	fi
}

/* Takes a reference of its own. */
inline pool_keep(b)
{
	d_step {
		use_pool();
		assert(!kept[b]);
		if
#ifndef KEEP_WITHOUT_LOOKING
		:: nr_kept >= cache || len(waiters) > 0
#else
		:: nr_kept >= cache
#endif
		:: else ->
			touch(b);
			ref[b]++;
			kept[b] = true;
			nr_kept++
		fi
	}
}

/* Sets ok if it was there. */
inline kept_del(b)
{
	d_step {
		use_pool();
		ok = kept[b];
		if
		:: kept[b] ->
			kept[b] = false;
			nr_kept--
		:: else
		fi
	}
}

/* Ageing and shrinker. unregister() waits for them. */
proctype dropper(byte b)
{
	bool first, last;

end:	do
	:: d_step {			/* drop_any() */
		kept[b] && nr_waiters == 0 ->
		use_pool();
		kept[b] = false;
		nr_kept--;
		dropping++
	   };
	   folio_put(b, true);
	   d_step { use_pool(); dropping-- }	/* the list's lock */
	od
}

/* Pin */

/* transient_memmap_try_get() */
inline try_get(b, me)
{
	rcu_read_lock(me);
	if
	:: state[b] == LIVE ->		/* block_pinnable() */
		/* Anything may happen to the block here. */
		folio_try_get(b)
	:: else
	fi;
	rcu_read_unlock(me)
}

/* The charge */

inline pool_serve()
{
	if
	:: live < CAP && len(waiters) > 0 ->
		waiters?w;
		served[w] = true;
		live++;
		w = 0
	:: else
	fi
}

inline pool_uncharge()
{
	d_step {
		use_pool();
		live--;
#ifndef NO_SERVE
		pool_serve()
#endif
	}
}

inline pool_drop_some()
{
	for (i : 0 .. BLOCKS - 1) {
		kept_del(i);
		if
		:: ok -> folio_put(i, false)
		:: else
		fi
	}
	i = 0;
	ok = false
}

inline pool_wait(me)
{
	nr_waiters++;
	pool_drop_some();
#ifndef NO_KICK
	pending = true;			/* transient_free_soon() */
#endif
	do
	:: served[me] -> break
#ifdef GIVE_UP
	:: d_step {
		!served[me] ->
		waiters??eval(me)
	   };
	   break
#endif
#if !defined(NO_KICK) && !defined(KICK_ONCE)
	/* It does so without looking, which would hide that it waits for ever. */
	:: !served[me] && !pending && dying -> pending = true
#endif
	od;
	nr_waiters--
}

/* Leaves it in served[]. */
inline pool_get_page(me)
{
	d_step {
		use_pool();
		waiters!me;
		pool_serve()
	};
	if
	:: served[me]
	:: else -> pool_wait(me)
	fi
}

inline block_revive(b)
{
	folio_try_get(b);
	if
	:: !got ->
		d_step {
			touch(b);
			assert(ref[b] == 0);
#ifdef REVIVE_WITHOUT_LINK_REF
			ref[b] = 1;
#else
			ref[b] = 2;
#endif
			got = true
		};
		state[b] = LIVE
	:: else
	fi
}

inline block_map(b)
{
	d_step {
		assert(!mapped[b] && tlb[b] == 0);
		mapped[b] = true;
		/* From now on, any CPU can speculate through it. */
		tlb[b] = ALL_CPUS
	}
}

inline block_populate(b, me)
{
	pool_get_page(me);
	if
	:: served[me] ->
		served[me] = false;
		if
		:: pool_uncharge()	/* no memory */
		:: pages++;
			block_map(b);
			ref[b] = 1;
			pool_keep(b);
#ifndef NO_REF_OF_BLOCK
			pgmap_ref++;	/* percpu_ref_get() */
#endif
			got = true
		fi
	:: else
	fi
}

inline block_get(b, me)
{
	if				/* block_claim() */
#ifdef GIVE_UP
	:: in_transit(b)
#endif
	:: atomic { !locked && !in_transit(b) -> use_pool(); locked = true };
		if
		:: state[b] != ABSENT ->
			block_revive(b);
			unlock()
		:: else ->
			state[b] = POPULATING;
			unlock();
			block_populate(b, me);
			lock();
			if
			:: got -> state[b] = LIVE
			:: else -> state[b] = ABSENT
			fi;
			unlock()
		fi
	fi
}

/* transient_memmap_populate() */
inline populate(b, me)
{
	d_step {			/* get_dev_pagemap() */
		if
		:: !killed ->
			pgmap_ref++;
			ok = true
		:: else
		fi
	};
	if
	:: ok ->
		ok = false;
		block_get(b, me);
		pgmap_ref--		/* put_dev_pagemap() */
	:: else
	fi
}

/* For ever, or until the provider leaves */
proctype pinner(byte me)
{
	bool got, ok, first, last;
	byte b, i, w;

	do
	:: select(b : 0 .. BLOCKS - 1);
	   if
	   :: try_get(b, me)
	   :: populate(b, me)
	   fi;
	   if
	   :: got ->
		touch(b);		/* whoever has a reference may */
		folio_put(b, true);
		got = false
	   :: else
	   fi;
	   b = 0
	:: killed ->
		break
	od
}

/* Free */

/* Needs a bool dies. */
inline block_take_link(b)
{
	touch(b);
	if
	:: ref[b] == 0 ->
		dies = true
	:: else ->
		linked[b] = false;
		pool_keep(b);
		put_testzero(b);
		dies = last;
		last = false
	fi
}

inline block_hide(b)
{
	lock();
	block_take_link(b);
	if
	:: dies ->
		linked[b] = true;	/* on the worker's own list */
		state[b] = HIDDEN;
		hide = hide | BIT(b);
		dies = false
	:: else
	fi;
	unlock()
}

inline clear_ptes(b)
{
	touch(b);
	linked[b] = false;
	mapped[b] = false;
	state[b] = UNMAPPED;
	unmapped = unmapped | BIT(b)
}

inline block_unmap(b)
{
	lock();
	if
#ifndef UNMAP_WITHOUT_STATE_CHECK
	:: state[b] != HIDDEN ->
		block_take_link(b);
		if
		:: dies ->
			dies = false;
#ifdef UNMAP_WHAT_DIES_AGAIN
			clear_ptes(b)
#else
			linked[b] = false;
			free_folio(b, false)
#endif
		:: else
		fi
#endif
	:: else ->
		clear_ptes(b)
	fi;
	unlock()
}

/* One CPU after the other; what is mapped can be cached again at once. */
inline flush_tlb_kernel_range()
{
	for (cpu : 0 .. CPUS - 1) {
		d_step {
			for (i : 0 .. BLOCKS - 1) {
				if
				:: !mapped[i] -> tlb[i] = tlb[i] & ~BIT(cpu)
				:: else
				fi
			}
			i = 0
		}
	}
	cpu = 0
}

inline block_free(b)
{
	d_step {
		use_pool();
		assert(tlb[b] == 0);
		pages--
	};
	pool_uncharge();		/* pool_put_page() */
	lock();
	state[b] = ABSENT;
	unlock();
#ifndef NO_REF_OF_BLOCK
	pgmap_ref--			/* put_dev_pagemap() */
#endif
}

#define for_each_in(set, step)						\
	for (b : 0 .. BLOCKS - 1) {					\
		if							\
		:: set & BIT(b) -> step(b)				\
		:: else							\
		fi							\
	}								\
	b = 0;								\
	set = 0

/* free_dying() */
proctype worker()
{
	bool first, last, dies;
	byte b, i, cpu, list, hide, unmapped, w;

end:	do
	:: d_step { pending -> pending = false };
	   d_step {			/* llist_del_all() */
		list = dying;
		dying = 0
	   };
	   for_each_in(list, block_hide);
#ifndef NO_GRACE_PERIOD
	   if
	   :: hide -> synchronize_rcu(gp_free)
	   :: else
	   fi;
#endif
	   for_each_in(hide, block_unmap);
#ifndef NO_FLUSH_BEFORE_FREE
	   if
	   :: unmapped -> flush_tlb_kernel_range()
	   :: else
	   fi;
#endif
	   for_each_in(unmapped, block_free);
#ifdef NO_FLUSH_BEFORE_FREE
	   flush_tlb_kernel_range();
#endif
	od
}

/* Unregister: memunmap_pages() */
proctype unregister()
{
	byte i;

	d_step {
		killed = true;
		pgmap_ref--
	};
	cache = 0;			/* transient_memmap_drain_pool() */
	pgmap_ref == 0;

	/* transient_memmap_remove_range(), transient_memmap_destroy_pool() */
#ifndef NO_WAIT_FOR_DROPPERS
	dropping == 0;			/* pools_lock, shrinker_free() */
#endif
	gone = true;

	for (i : 0 .. BLOCKS - 1) {
		assert(state[i] == ABSENT && ref[i] == 0 && !mapped[i]);
		assert(tlb[i] == 0 && !kept[i] && !linked[i])
	}
	assert(live == 0 && pages == 0 && nr_kept == 0 && dying == 0);
	assert(nr_waiters == 0 && len(waiters) == 0)
}

init {
	byte i;

	atomic {
		for (i : 1 .. PINNERS) {
			run pinner(i - 1)
		}
		for (i : 1 .. BLOCKS) {
			run dropper(i - 1)
		}
		i = 0;
		run worker();
		run unregister()
	}
}
