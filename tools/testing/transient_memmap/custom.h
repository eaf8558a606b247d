/* SPDX-License-Identifier: GPL-2.0 */
/* What behaves as in the kernel, or stricter, as far as the pool can see. */

#undef READ_ONCE
#undef WRITE_ONCE
#undef min
#undef max
#undef __set_bit
#undef synchronize_rcu
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, val)	__atomic_store_n(&(x), val, __ATOMIC_RELAXED)
/* What pairs with what is said where they are used. */
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
/* Likewise */
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define try_cmpxchg(p, old, v)	__atomic_compare_exchange_n(p, old, v, 0, \
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED)

#include <linux/llist.h>

static inline unsigned long min(unsigned long a, unsigned long b)
{
	return a < b ? a : b;
}

static inline unsigned long max(unsigned long a, unsigned long b)
{
	return a > b ? a : b;
}

#define min3(a, b, c)		min(a, min(b, c))

/* What the kernel would complain about; the tests look at the count. */
static int nr_warnings;

#define VM_WARN_ON_ONCE(cond)	WARN_ON(cond)
#define WARN_ON(cond)							\
({									\
	bool __warn = (cond);						\
									\
	if (__warn && __atomic_fetch_add(&nr_warnings, 1, 0) < 10)	\
		printf("# %s:%d: WARN_ON(%s)\n", __FILE__, __LINE__,	\
		       #cond);						\
	__warn;								\
})

/* Atomics: of either type */
#define atomic_read(v)			READ_ONCE((v)->counter)
#define atomic_read_acquire(v)		__atomic_load_n(&(v)->counter, \
							__ATOMIC_ACQUIRE)
#define atomic_set(v, i)		WRITE_ONCE((v)->counter, i)
#define atomic_add_return(i, v)		__atomic_add_fetch(&(v)->counter, i, \
							   __ATOMIC_SEQ_CST)
#define atomic_try_cmpxchg(v, old, i)	try_cmpxchg(&(v)->counter, old, i)
#define atomic_long_read		atomic_read
#define atomic_long_inc(v)		atomic_add_return(1, v)
#define atomic_long_dec(v)		atomic_add_return(-1, v)
#define atomic_long_try_cmpxchg		atomic_try_cmpxchg

static inline bool atomic_inc_not_zero(atomic_t *v)
{
	int old = atomic_read(v);

	while (old && !atomic_try_cmpxchg(v, &old, old + 1))
		;
	return old;
}

#define refcount_t			atomic_t
#define refcount_set			atomic_set
#define refcount_read			atomic_read
#define refcount_inc(r)			atomic_add_return(1, r)
#define refcount_inc_not_zero		atomic_inc_not_zero
#define refcount_dec_if_one(r)		atomic_try_cmpxchg(r, &(int){ 1 }, 0)
#define __refcount_dec(r, oldp)		(*(oldp) = atomic_add_return(-1, r) + 1)

struct static_key_false { int counter; };
#define DECLARE_STATIC_KEY_FALSE(name)	extern struct static_key_false name
#define DEFINE_STATIC_KEY_FALSE(name)	struct static_key_false name
#define static_branch_inc(key)		atomic_add_return(1, key)
#define static_branch_dec(key)		atomic_add_return(-1, key)
#define static_branch_unlikely(key)	(atomic_read(key) > 0)

/* Tasks, RCU: a grace period waits for the readers of older numbers */
static struct task {
	bool killed;
	int rcu_depth, locks;
	unsigned long rcu_gp;
} tasks[4096];
static int nr_tasks;
static unsigned long rcu_gp = 1;

static inline struct task *get_current(void)
{
	static __thread struct task *task;

	if (!task)
		task = tasks + __atomic_fetch_add(&nr_tasks, 1,
						  __ATOMIC_SEQ_CST);
	return task;
}

#define current				get_current()
#define fatal_signal_pending(task)	READ_ONCE((task)->killed)
#define might_sleep()	WARN_ON(current->locks || current->rcu_depth)
#define rcu_read_lock_any_held()	(current->rcu_depth > 0)
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), v) /* readers */
#define RCU_INIT_POINTER(p, v)		WRITE_ONCE(p, v)
#define rcu_dereference(p)		\
	rcu_dereference_check(p, rcu_read_lock_any_held())
#define rcu_dereference_check(p, cond)	\
	({ WARN_ON(!(cond)); __atomic_load_n(&(p), __ATOMIC_ACQUIRE); })
#define rcu_dereference_protected(p, ...)	READ_ONCE(p)
#define call_rcu(head, fn)	do { synchronize_rcu(); fn(head); } while (0)

static inline void rcu_read_lock(void)
{
	if (!current->rcu_depth++)
		__atomic_store_n(&current->rcu_gp,
				 __atomic_load_n(&rcu_gp, __ATOMIC_SEQ_CST),
				 __ATOMIC_SEQ_CST);
}

static inline void rcu_read_unlock(void)
{
	if (!--current->rcu_depth)
		__atomic_store_n(&current->rcu_gp, 0, __ATOMIC_SEQ_CST);
}

static inline void synchronize_rcu(void)
{
	unsigned long gp = __atomic_add_fetch(&rcu_gp, 1, __ATOMIC_SEQ_CST);
	int i, nr = __atomic_load_n(&nr_tasks, __ATOMIC_SEQ_CST);
	unsigned long *reader;

	might_sleep();
	/* Who is no reader has 0. */
	for (i = 0; i < nr; i++) {
		reader = &tasks[i].rcu_gp;
		while (__atomic_load_n(reader, __ATOMIC_SEQ_CST) - 1 < gp - 1)
			usleep(20);
	}
}

DEFINE_LOCK_GUARD_0(rcu, rcu_read_lock(), rcu_read_unlock());

/* Locks; each has the condition that wait_var_event_any_lock() waits for */
struct mutex {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct task *owner;
	unsigned int wakeups;
};

#define spinlock_t			struct mutex
#define MUTEX_INIT	{ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER }
#define DEFINE_MUTEX(name)		struct mutex name = MUTEX_INIT
#define spin_lock_init(lock)		(*(lock) = (spinlock_t)MUTEX_INIT)
#define lockdep_assert_held(lock)	\
	WARN_ON(READ_ONCE((lock)->owner) != current)
#define wait_var_event_any_lock(var, condition, lock, type, state)	\
({									\
	int __ret = 0;							\
									\
	(void)(var);							\
	(void)(state);							\
									\
	while (!(condition) && !__ret)					\
		__ret = type ## _wait(lock);				\
	__ret;								\
})

static inline void spin_lock(spinlock_t *lock)
{
	current->locks++;
	pthread_mutex_lock(&lock->mutex);
	WRITE_ONCE(lock->owner, current);
}

static inline void spin_unlock(spinlock_t *lock)
{
	WRITE_ONCE(lock->owner, NULL);
	pthread_mutex_unlock(&lock->mutex);
	current->locks--;
}

static inline void mutex_lock(struct mutex *lock)
{
	might_sleep();
	spin_lock(lock);
	current->locks--;
}

static inline void mutex_unlock(struct mutex *lock)
{
	current->locks++;
	spin_unlock(lock);
}

static inline void wake_up_var_locked(void *var, spinlock_t *lock)
{
	lock->wakeups++;
	pthread_cond_broadcast(&lock->cond);
}

/* A wakeup ends it, not the time limit, which is for looking at killed. */
static inline int spin_wait(spinlock_t *lock)
{
	unsigned int wakeups = lock->wakeups;
	struct timespec ts;

	WARN_ON(current->locks != 1 || current->rcu_depth);
	if (fatal_signal_pending(current))
		return -ERESTARTSYS;
	while (wakeups == lock->wakeups && !fatal_signal_pending(current)) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += (ts.tv_nsec + 10000000) / 1000000000;
		ts.tv_nsec = (ts.tv_nsec + 10000000) % 1000000000;
		pthread_cond_timedwait(&lock->cond, &lock->mutex, &ts);
	}
	WRITE_ONCE(lock->owner, current);
	return 0;
}

DEFINE_LOCK_GUARD_1(spinlock, spinlock_t, spin_lock(_T->lock),
		    spin_unlock(_T->lock));
DEFINE_LOCK_GUARD_1(mutex, struct mutex, mutex_lock(_T->lock),
		    mutex_unlock(_T->lock));

/* One workqueue, with some threads, and with a clock that the test advances */
struct work_struct {
	void (*func)(struct work_struct *work);
	struct list_head entry;
	unsigned long due, runs;
	bool pending, running, disabled;
};

struct delayed_work { struct work_struct work; };

static DEFINE_MUTEX(wq);
static LIST_HEAD(wq_pending);
static unsigned long wq_now;
static int wq_running;

#define system_dfl_wq			NULL
#define to_delayed_work(w)	container_of(w, struct delayed_work, work)
#define INIT_WORK(w, fn)		((w)->func = (fn))
#define INIT_DELAYED_WORK(w, fn)	INIT_WORK(&(w)->work, fn)
#define DECLARE_DELAYED_WORK(name, fn)	\
	struct delayed_work name = { { .func = fn } }
#define queue_delayed_work(q, w, delay)	\
	((void)(q), queue_work_in(&(w)->work, delay))
#define wq_wait()			pthread_cond_wait(&wq.cond, &wq.mutex)

DEFINE_LOCK_GUARD_0(wq, pthread_mutex_lock(&wq.mutex),
		    pthread_cond_broadcast(&wq.cond);
		    pthread_mutex_unlock(&wq.mutex));

static inline bool queue_work_in(struct work_struct *w, unsigned long delay)
{
	guard(wq)();
	if (w->pending || w->disabled)
		return false;
	w->pending = true;
	w->due = wq_now + delay;
	list_add_tail(&w->entry, &wq_pending);
	return true;
}

/* Once, and in a thread of its own: it may sleep for long, and free the work. */
static inline void *work_thread(void *arg)
{
	struct work_struct *w = arg;

	w->func(w);
	return NULL;
}

static inline void queue_work(struct workqueue_struct *q, struct work_struct *w)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work_thread, w))
		abort();
	pthread_detach(thread);
}

static inline struct work_struct *wq_next(void)
{
	struct work_struct *w;

	list_for_each_entry(w, &wq_pending, entry)
		if (w->due <= wq_now && !w->running)
			return w;
	return NULL;
}

static inline void *wq_thread(void *unused)
{
	struct work_struct *w;

	for (;;) {
		scoped_guard(wq) {
			while (!(w = wq_next()))
				wq_wait();
			list_del(&w->entry);
			w->pending = false;
			w->running = true;
			w->runs++;
			wq_running++;
		}
		w->func(w);
		scoped_guard(wq) {
			w->running = false;
			wq_running--;
		}
	}
	return NULL;
}

static inline void *alloc_workqueue(char *name, int flags, int max)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 3; i++)
		if (pthread_create(&thread, NULL, wq_thread, NULL))
			return NULL;
	return name;
}

/* If it is queued again, that is another run, which may wait for its time. */
static inline bool flush_work_locked(struct work_struct *w)
{
	unsigned long last = w->runs + w->pending;
	bool busy = w->pending || w->running;

	w->due = wq_now;
	while (w->runs < last || (w->running && w->runs == last))
		wq_wait();
	return busy;
}

static inline bool flush_delayed_work(struct delayed_work *dwork)
{
	might_sleep();
	guard(wq)();
	pthread_cond_broadcast(&wq.cond);
	return flush_work_locked(&dwork->work);
}

static inline void cancel_delayed_work_sync(struct delayed_work *dwork)
{
	struct work_struct *w = &dwork->work;

	might_sleep();
	guard(wq)();
	w->disabled = true;
	if (w->pending)
		list_del(&w->entry);
	w->pending = false;
	while (w->running)
		wq_wait();
	w->disabled = false;
}

/* Allocation: counted, and failing when the test says so */
static long fail_nth, nr_objects, nr_pages, nr_memmap_pages;
static bool fail_all;

#define kzalloc_obj(obj, ...)	kzalloc(sizeof(obj))
#define memmap_pages_add(n)	__atomic_add_fetch(&nr_memmap_pages, n, 0)

/* fail_nth: which allocation from now on shall fail */
static inline bool should_fail_nowait(void)
{
	if (READ_ONCE(fail_nth) <= 0)
		return READ_ONCE(fail_all);
	return !__atomic_sub_fetch(&fail_nth, 1, 0);
}

static inline bool should_fail(void)
{
	might_sleep();
	return should_fail_nowait();
}

static inline void *kzalloc(size_t size)
{
	if (should_fail())
		return NULL;
	__atomic_add_fetch(&nr_objects, 1, 0);
	return calloc(1, size);
}

static inline void *kmemdup(const void *from, size_t size, gfp_t gfp)
{
	void *p = kzalloc(size);

	return p ? memcpy(p, from, size) : NULL;
}

static inline void kfree(void *p)
{
	__atomic_sub_fetch(&nr_objects, 1, 0);
	free(p);
}

/* An xarray: of few entries, each for a range */
struct xarray_entry { unsigned long first, last; void *entry; };

struct xarray {
	pthread_mutex_t lock; /* nr, entries */
	int nr;
	struct xarray_entry entries[64];
};

#define DEFINE_XARRAY(name)		\
	struct xarray name = { .lock = PTHREAD_MUTEX_INITIALIZER }
#define xa_err(entry)			PTR_ERR_OR_ZERO(entry)
#define xa_mk_value(v)			((void *)(unsigned long)(v))

static inline void *xa_find(struct xarray *xa, unsigned long *index,
			    unsigned long last, int filter)
{
	unsigned long found = last;
	void *entry = NULL;
	int i;

	pthread_mutex_lock(&xa->lock);
	for (i = 0; i < xa->nr; i++) {
		struct xarray_entry *e = &xa->entries[i];

		if (e->last < *index || e->first > found)
			continue;
		entry = e->entry;
		found = max(e->first, *index);
	}
	pthread_mutex_unlock(&xa->lock);
	*index = found;
	return entry;
}

static inline void *xa_load(struct xarray *xa, unsigned long index)
{
	return xa_find(xa, &index, index, 0);
}

/* One that fails has stored a part.  What is erased was stored as a whole. */
static inline void *xa_store_range(struct xarray *xa, unsigned long first,
				   unsigned long last, void *entry, int gfp)
{
	void *ret = NULL;
	int i;

	if (entry && !(gfp & __GFP_NOFAIL) && should_fail())
		ret = ERR_PTR(-ENOMEM);

	pthread_mutex_lock(&xa->lock);
	for (i = xa->nr - 1; i >= 0; i--)
		if (xa->entries[i].first >= first && xa->entries[i].last <= last)
			xa->entries[i] = xa->entries[--xa->nr];
	if (entry && xa->nr == 64)
		abort();
	if (entry)
		xa->entries[xa->nr++] = (struct xarray_entry) {
			first, ret ? first + PAGES_PER_SUBSECTION - 1 : last, entry
		};
	pthread_mutex_unlock(&xa->lock);
	return ret;
}

/* One that fails has stored nothing. */
static inline void *xa_store(struct xarray *xa, unsigned long index,
			     void *entry, int gfp)
{
	void *ret = xa_store_range(xa, index, index, entry, gfp);

	if (ret)
		xa_store_range(xa, index, index + PAGES_PER_SUBSECTION - 1, NULL, 0);
	return ret;
}

static inline void *xa_erase(struct xarray *xa, unsigned long index)
{
	void *entry = xa_load(xa, index);

	xa_store_range(xa, index, index, NULL, 0);
	return entry;
}

/* list_lru */
struct list_lru_one {
	spinlock_t lock; /* list, nr */
	struct list_head list;
	long nr;
};

struct list_lru { struct list_lru_one node[NR_NODES]; };
enum lru_status { LRU_REMOVED, LRU_ROTATE, LRU_STOP };
typedef enum lru_status (*list_lru_walk_cb)(struct list_head *item,
					    struct list_lru_one *list,
					    void *arg);
struct shrink_control { int nid; unsigned long nr_to_scan; };

#define list_lru_count_node(lru, nid)	\
	((unsigned long)READ_ONCE((lru)->node[nid].nr))
#define list_lru_shrink_count(lru, sc)	list_lru_count_node(lru, (sc)->nid)
#define list_lru_destroy(lru)		WARN_ON(list_lru_count(lru))

static inline unsigned long list_lru_count(struct list_lru *lru)
{
	return list_lru_count_node(lru, 0) + list_lru_count_node(lru, 1);
}

static inline int list_lru_init(struct list_lru *lru)
{
	int i;

	for (i = 0; i < NR_NODES; i++) {
		spin_lock_init(&lru->node[i].lock);
		INIT_LIST_HEAD(&lru->node[i].list);
	}
	return should_fail() ? -ENOMEM : 0;
}

static inline bool list_lru_add(struct list_lru *lru, struct list_head *item,
				int nid, void *memcg)
{
	struct list_lru_one *one = &lru->node[nid];

	guard(spinlock)(&one->lock);
	if (!list_empty(item))
		return false;
	list_add_tail(item, &one->list);
	WRITE_ONCE(one->nr, one->nr + 1);
	return true;
}

static inline void list_lru_isolate(struct list_lru_one *list,
				    struct list_head *item)
{
	lockdep_assert_held(&list->lock);
	list_del_init(item);
	WRITE_ONCE(list->nr, list->nr - 1);
}

static inline unsigned long list_lru_walk_node(struct list_lru *lru, int nid,
					       list_lru_walk_cb walk, void *arg,
					       unsigned long *nr)
{
	struct list_lru_one *one = &lru->node[nid];
	struct list_head *item, *next;
	unsigned long removed = 0;
	enum lru_status status;

	guard(spinlock)(&one->lock);
	list_for_each_safe(item, next, &one->list) {
		if (!*nr)
			break;
		--*nr;
		status = walk(item, one, arg);
		if (status == LRU_STOP)
			break;
		if (status == LRU_ROTATE)
			list_move_tail(item, &one->list);
		else
			removed++;
	}
	return removed;
}

static inline unsigned long list_lru_shrink_walk(struct list_lru *lru,
						 struct shrink_control *sc,
						 list_lru_walk_cb walk,
						 void *arg)
{
	return list_lru_walk_node(lru, sc->nid, walk, arg, &sc->nr_to_scan);
}

/* The shrinker: the test calls it. */
struct shrinker {
	unsigned long (*count_objects)(struct shrinker *s,
				       struct shrink_control *sc);
	unsigned long (*scan_objects)(struct shrinker *s,
				      struct shrink_control *sc);
	void *private_data;
	int seeks;
};

#define shrinker_alloc(...)		kzalloc(sizeof(struct shrinker))
#define shrinker_register(...)		do { } while (0)
#define shrinker_free(shrinker)		kfree(shrinker)

/* mempool */
struct mempool {
	spinlock_t lock; /* elem, nr */
	void *elem[8], *data;
	int nr, min;
	void (*free)(void *elem, void *data);
};

#define mempool_t			struct mempool

static inline void mempool_exit(mempool_t *pool)
{
	while (pool->nr)
		pool->free(pool->elem[--pool->nr], pool->data);
}

static inline int mempool_init_node(mempool_t *pool, int min,
				    void *(*alloc)(gfp_t gfp, void *data),
				    void (*free)(void *elem, void *data),
				    void *data, gfp_t gfp, int nid)
{
	*pool = (mempool_t){ .lock = MUTEX_INIT, .free = free, .data = data };
	for (pool->min = min; pool->nr < min; pool->nr++) {
		pool->elem[pool->nr] = alloc(gfp, data);
		if (!pool->elem[pool->nr]) {
			mempool_exit(pool);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Its memory is not zeroed, nor is what was freed. */
static inline void *mempool_kmalloc(gfp_t gfp, void *size)
{
	void *p = kzalloc((size_t)size);

	return p ? memset(p, 0xa5, (size_t)size) : NULL;
}

static inline void mempool_kfree(void *elem, void *size)
{
	kfree(elem);
}

#define mempool_init_kmalloc_pool(pool, nr, size)			\
	mempool_init_node(pool, nr, mempool_kmalloc, mempool_kfree,	\
			  (void *)(size), GFP_KERNEL, 0)

static inline bool mempool_is_saturated(mempool_t *pool)
{
	return READ_ONCE(pool->nr) >= pool->min;
}

static inline void mempool_free(void *elem, mempool_t *pool)
{
	if (pool->free == mempool_kfree)
		memset(elem, 0x5a, (size_t)pool->data);
	scoped_guard(spinlock, &pool->lock) {
		if (pool->nr < pool->min) {
			pool->elem[pool->nr] = elem;
			WRITE_ONCE(pool->nr, pool->nr + 1);
			return;
		}
	}
	pool->free(elem, pool->data);
}

static inline void *mempool_alloc_preallocated(mempool_t *pool)
{
	guard(spinlock)(&pool->lock);
	if (!pool->nr)
		return NULL;
	WRITE_ONCE(pool->nr, pool->nr - 1);
	return pool->elem[pool->nr];
}
