/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life of a block of mm/transient_memmap.c, for the model checker spin
 *
 * Pins come and go, by GUP-fast and by populating, for as long as the range is
 * registered; the pool keeps blocks and drops them whenever it likes; the worker
 * frees; the provider unregisters at any time.  spin tries every interleaving of
 * the steps below.  A step is one statement, or an atomic or d_step; what comes
 * from the C file has the name that it has there.
 *
 * What has to hold:
 *
 * - A struct page that is touched is mapped: touch().
 * - A page is freed, and another one mapped in its place, only when no TLB can
 *   hold the old translation: block_free(), block_map().
 * - A link is on one list at a time: llist_add().
 * - The pool is not touched once it was freed: use_pool().
 * - At the end nothing is left: unregister().
 * - The end comes, as no process waits for ever: spin's invalid end states.  A
 *   dying block that no work is queued for would be such a wait, for pgmap->ref.
 *
 * Not here: sections and their page tables, the cap, lost wake-ups, and the
 * order in which memory accesses become visible: the steps are sequentially
 * consistent, see the C file for its barriers.
 *
 * Each #ifdef leaves out a precaution, and the checker has to notice, see
 * tools/model.sh; but with OTHERS_QUEUE, pins queue the work now and then, which
 * does no harm, unless NO_RCU_IN_FREE_FOLIO is defined as well.
 */

#ifndef PINNERS
#define PINNERS	2
#endif
#ifndef BLOCKS
#define BLOCKS	1
#endif
#define CPUS	2

/* enum transient_block_state */
mtype = { ABSENT, POPULATING, LIVE, HIDDEN, UNMAPPED };

/* Blocks */
mtype state[BLOCKS] = ABSENT;	/* sec->state */
byte ref[BLOCKS];		/* the folio's refcount */
bool linked[BLOCKS];		/* the folio's link is in use */
bool kept[BLOCKS];		/* on pool->kept */
bool mapped[BLOCKS];		/* in sec->ptes */
byte tlb[BLOCKS];		/* CPUs that may have it cached */
bool locked;			/* sec->lock, of one section for all */

/* The pool */
byte pgmap_ref = 1;
bool killed;			/* percpu_ref_kill(&pgmap->ref) */
bool registered = true;		/* in transient_pools */
bool gone;			/* kfree(pool) */
byte cache = 1;
byte nr_kept;
byte dropping;			/* age_work and shrinker at work */
byte live;			/* the charge */
byte pages;			/* that the pool has allocated */
byte dying;			/* pool->dying, a bit for each block */

/* pool->free_work; its delay is that steps may take any time */
bool pending;
bool running;
byte flush;			/* runs that flush_delayed_work() waits for */

/* RCU: a bit for each reader, and those that a grace period waits for */
byte readers;
byte gp_free;
byte gp_destroy;

#define BIT(n)		(1 << (n))
#define ALL_CPUS	(BIT(CPUS) - 1)
#define WORKER		PINNERS
#define DROPPER(b)	(PINNERS + 1 + (b))

#define in_transit(b)	(state[b] == POPULATING || state[b] == UNMAPPED)
#define touch(b)	assert(mapped[b])
#define use_pool()	assert(!gone)

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline rcu_read_lock(me) { readers = readers | BIT(me) }

inline rcu_read_unlock(me)
{
	d_step {
		readers = readers & ~BIT(me);
		gp_free = gp_free & ~BIT(me);
		gp_destroy = gp_destroy & ~BIT(me)
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

inline queue_delayed_work()
{
	d_step { use_pool(); pending = true }
}

/* Needs a bool first. */
inline llist_add(b)
{
	d_step {
		use_pool();
		touch(b);
		assert(!linked[b]);
		linked[b] = true;
		first = dying == 0;
		dying = dying | BIT(b)
	}
}

/* transient_memmap_free_folio() */
inline free_folio(b, me)
{
#ifndef NO_RCU_IN_FREE_FOLIO
	rcu_read_lock(me);
#endif
	touch(b);			/* folio->pgmap */
#ifdef QUEUE_BEFORE_ADD
	queue_delayed_work();
	llist_add(b);
#else
	llist_add(b);
	if
	:: first -> queue_delayed_work()
	:: else
	fi;
#endif
	first = false;
#ifndef NO_RCU_IN_FREE_FOLIO
	rcu_read_unlock(me)
#endif
}

inline folio_put(b, me)
{
	put_testzero(b);
	if
	:: last ->
		last = false;
		free_folio(b, me)
	:: else
	fi
}

/* Keep: needs a bool ok.  Count and add are two steps, as the limit is soft. */
inline pool_keep(b)
{
	use_pool();
	if
	:: nr_kept >= cache ->
		ok = false
	:: else ->
		d_step {
			assert(!kept[b]);
			kept[b] = true;
			nr_kept++;
			ok = true
		}
	fi
}

/*
 * Whatever drops a block that the pool keeps: age_work, shrinker, a lower cache,
 * a full one, a pin at the cap.  unregister() waits for the first two.
 */
proctype dropper(byte b)
{
	bool first, last;

end:	do
	:: d_step {			/* kept_drop() */
		kept[b] ->
		use_pool();
		kept[b] = false;
		nr_kept--;
		dropping++
	   };
	   folio_put(b, DROPPER(b));
	   dropping--
	od
}

/* Pin */

/* transient_memmap_try_get(), gup_fast_transient_leaf() */
inline try_get(b, me)
{
	rcu_read_lock(me);
	if
	:: state[b] == LIVE ->		/* transient_pfn_live() */
		/* Anything may happen to the block here. */
		folio_try_get(b)
	:: else
	fi;
	rcu_read_unlock(me)
}

inline pool_get(me)
{
	rcu_read_lock(me);
	if
	:: registered ->
		d_step {		/* percpu_ref_tryget_live_rcu() */
			use_pool();
			if
			:: !killed ->
				pgmap_ref++;
				ok = true
			:: else
			fi
		}
	:: else
	fi;
	rcu_read_unlock(me)
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

inline block_populate(b)
{
	d_step { use_pool(); live++ };	/* pool_charge() */
#ifdef OTHERS_QUEUE
	if
	:: queue_delayed_work()
	:: skip
	fi;
#endif
	if
	:: live--			/* no memory */
	:: pages++;
		block_map(b);
		ref[b] = 2;
		pool_keep(b);		/* pool_keep_new() */
		if
		:: !ok ->
			put_testzero(b);
			assert(!last)
		:: else
		fi;
		got = true
	fi
}

/* If it is new, then the caller's reference on the pgmap is the block's. */
inline block_get(b)
{
	if				/* block_claim() */
	:: in_transit(b)		/* a fatal signal */
	:: atomic { !locked && !in_transit(b) -> locked = true };
		if
		:: state[b] != ABSENT ->
			block_revive(b);
			unlock()
		:: else ->
			state[b] = POPULATING;
			unlock();
			block_populate(b);
			lock();
			if
			:: got ->
				state[b] = LIVE;
				new = true
			:: else ->
				state[b] = ABSENT
			fi;
			unlock()
		fi
	fi
}

/* transient_memmap_populate() */
inline populate(b, me)
{
	pool_get(me);
	if
	:: ok ->
		block_get(b);
		if
		:: !new -> pgmap_ref--	/* put_dev_pagemap() */
		:: else
		fi
	:: else
	fi;
	ok = false;
	new = false
}

/*
 * transient_memmap_populate_nowait(): what it does not wait for is a fatal signal, in
 * block_get().  GUP-fast tries to get the block after that.
 */
inline populate_nowait(b, me)
{
	pool_get(me);
	if
	:: ok ->
		block_get(b);
		if
		:: !new -> pgmap_ref--
		:: else
		fi;
		if
		:: got && ref[b] == 1 ->
			free_folio(b, me)
		:: got && ref[b] > 1 ->
			folio_put(b, me)
		:: else
		fi;
		got = false
	:: else
	fi;
	ok = false;
	new = false
}

/* For ever, or until the provider leaves */
proctype pinner(byte me)
{
	bool got, ok, new, first, last;
	byte b;

	do
	:: select(b : 0 .. BLOCKS - 1);
	   if
	   :: try_get(b, me)
	   :: populate(b, me)
	   :: populate_nowait(b, me);
	      try_get(b, me)
	   fi;
	   if
	   :: got ->
		touch(b);		/* whoever has a reference may */
		folio_put(b, me);
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
		if
		:: ok ->
			dies = false
		:: else ->
			put_testzero(b);
			dies = last;
			last = false
		fi;
		ok = false
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
			free_folio(b, WORKER)
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
		pages--			/* mempool_free() */
	};
	d_step { use_pool(); live-- };	/* pool_uncharge() */
	lock();
	state[b] = ABSENT;
	unlock();
	pgmap_ref--			/* put_dev_pagemap() */
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

/* pool_free_work() */
proctype worker()
{
	bool ok, first, last, dies;
	byte b, i, cpu, list, hide, unmapped;

end:	do
	:: d_step {
		pending ->
		pending = false;
		running = true
	   };
	   d_step {			/* llist_del_all() */
		use_pool();
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
	   d_step {
		running = false;
		if
		:: flush > 0 -> flush--
		:: else
		fi
	   }
	od
}

/* Unregister: memunmap_pages() */
proctype unregister()
{
	byte i;

	if
	:: cache = 0			/* transient_memmap_set_cache() */
	:: skip
	fi;

	d_step {
		killed = true;
		pgmap_ref--
	};
	cache = 0;			/* transient_memmap_drain_pool() */
	pgmap_ref == 0;			/* wait_for_completion(&pgmap->done) */

	/* transient_memmap_remove_range() */
#ifndef NO_FLUSH_WORK
	flush = pending + running;
	flush == 0;
#endif
	registered = false;

	/* transient_memmap_destroy_pool() */
	dropping == 0;			/* shrinker_free(), cancel age_work */
#ifndef NO_RCU_IN_DESTROY
	synchronize_rcu(gp_destroy);
#endif
	gone = true;

	for (i : 0 .. BLOCKS - 1) {
		assert(state[i] == ABSENT && ref[i] == 0 && !mapped[i]);
		assert(tlb[i] == 0 && !kept[i] && !linked[i])
	}
	assert(live == 0 && pages == 0 && nr_kept == 0 && dying == 0);
	assert(!pending && !running)
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
