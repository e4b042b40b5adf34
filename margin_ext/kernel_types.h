/* Plain types of the numeric kernels, shared by the compiled modules. Units stand in each comment.
 *
 * A risk row holds S = scenario_count entries (a multiple of 8, at most 64): the P&L of plus one lot in every
 * column, as an integer-valued double. Coin rows count 1e-10 coin per lot, USD rows 1e-4 USD per lot.
 */
#ifndef MARGRAVE_KERNEL_TYPES_H
#define MARGRAVE_KERNEL_TYPES_H

#include <stdint.h>

#define MARGRAVE_MAX_SCENARIOS 64

/* Answers of the repricing calls; nothing is written unless the answer is KERNEL_OK. */
enum {
    KERNEL_OK = 0,
    KERNEL_BAD_COUNT = 1,   /* a count out of range, or scenario_count no multiple of 8 up to 64 */
    KERNEL_BAD_EXPIRY = 2,  /* expiry_of_pair outside [0, expiry_count) */
    KERNEL_BAD_STRIKE = 3,  /* strike not finite and positive */
    KERNEL_BAD_VOL = 4,     /* vol, vol multiplier or vol floor negative or not finite */
    KERNEL_BAD_FORWARD = 5, /* forward, spot multiplier, index or lot not finite and positive */
    KERNEL_BAD_YEARS = 6,   /* time to expiry negative or not finite */
    KERNEL_BAD_WEIGHT = 7   /* weight, coin factor or move clamp negative or not finite */
};

/* One (underlying, settlement) chain of P (strike, expiry) pairs over E expiries. */
typedef struct {
    int32_t pair_count;            /* P */
    int32_t expiry_count;          /* E */
    int32_t scenario_count;        /* S */
    int32_t inverse;               /* 1: coin-settled, value per coin = price / forward; 0: value in USD */
    const int32_t *expiry_of_pair; /* [P]; grouped by expiry is fastest, any order is right */
    const double *strike;          /* [P] USD */
    const double *vol;             /* [P] fraction, per sqrt(year) */
    const double *forward;         /* [E] USD */
    const double *years;           /* [E] ACT/365, >= 0 */
    const double *spot_multiplier; /* [S] 1 + m_j; forwards move by the same factor */
    const double *vol_multiplier;  /* [E * S] */
    const double *vol_floor;       /* [S] least shocked vol, 0 for none; NULL: none at all */
    const double *weight;          /* [S] scales the P&L of a column; NULL: all 1 */
    const double *coin_factor;     /* [S] further weight of coin rows alone; NULL: all 1 */
    double index_price;            /* USD per coin now */
    double lot_coin;               /* coins per lot */
    const int32_t *call_row;       /* [P] destination row, -1 where the call is not listed */
    const int32_t *put_row;        /* [P] destination row, -1 where the put is not listed */
} ChainInput;

/* All arrays are indexed by destination row. row_max must stay below 2^51 for the rows to be exact. */
typedef struct {
    double *rows_coin; /* [row * S] 1e-10 coin per lot; not written for linear chains, may be NULL */
    double *rows_usd;  /* [row * S] 1e-4 USD per lot */
    double *mark;    /* [row] price / forward (inverse, coin) or price (linear, USD), per coin of notional */
    double *delta;   /* [row] Black-76 forward delta of the USD price: N(d1), put N(d1) - 1 */
    double *row_max; /* [row] largest |entry| over both row arrays */
} ChainOutput;

/* One future or perpetual. */
typedef struct {
    int32_t scenario_count;          /* S */
    int32_t inverse;                 /* 1: a USD amount settled in coin; 0: a coin amount settled in USD */
    int32_t clamp_mode;              /* 0: none; 1: |m_j| <= future_move_clamp[j], gains and losses alike */
    double forward;                  /* USD */
    double index_price;              /* USD per coin now */
    double lot_usd;                  /* USD per lot (inverse) */
    double lot_coin;                 /* coins per lot (linear) */
    const double *spot_multiplier;   /* [S] 1 + m_j */
    const double *weight;            /* [S]; NULL: all 1 */
    const double *coin_factor;       /* [S] further weight of the coin row alone; NULL: all 1 */
    const double *future_move_clamp; /* [S] largest |m_j| of an extended column, 0 for none; NULL: none */
} FutureInput;

typedef struct {
    double *row_coin;  /* [S] 1e-10 coin per lot; not written for linear contracts, may be NULL */
    double *row_usd;   /* [S] 1e-4 USD per lot */
    double delta_coin; /* coin per lot: lot_usd / forward (inverse) or lot_coin (linear) */
    double row_max;    /* largest |entry| over both rows */
} FutureOutput;

/* A box of market states around an anchor, and how margin weighs the values there (docs/margin.md, "Safe
 * bands"): the index moves by at most price_range, every forward and perpetual by the index's move and a further
 * basis_range, every total width (vol x sqrt(time), shocked or not) by width_range x its expiry's stretch. Ranges are
 * relative. */
typedef struct {
    double price_range;
    double width_range;
    double basis_range;
    int32_t base_column;         /* the column without any shock */
    const double *base_share[2]; /* [numeraire][S] weight of a value at the mark, any sign */
    const double *shock_share[2]; /* [numeraire][S] weight of a value in the column, >= 0 */
} BandBox;

/* Tables that hold all over a box, indexed by destination row. Point 0 is the anchor, 1 and 2 the box's upper
 * and lower end of the index; between them the bounds are linear. */
typedef struct {
    double *rows[2][3]; /* [numeraire][point]: row 2 i is the least value of a lot, 2 i + 1 the largest; 1e-4 USD */
    double *delta_low;  /* [row] least delta, coins per lot */
    double *delta_high; /* [row] */
    double *gross;      /* [row] size of a lot, 1e-4 USD, for the slack of rounding */
    double *mark[2][3]; /* [row] least and largest value of a lot at the mark at the points, 1e-4 USD */
} BandTables;

#define BAND_STRETCH_YEARS (14.0 / 365.0)
#define BAND_STRETCH_MAX 8.0
/* How much wider than width_range a box is for an expiry: the nearer it is, the less a share of their width changes the
 * values of its options, and the faster time takes from it. */
static inline double margrave_band_stretch(double years) {
    double stretch = __builtin_sqrt(BAND_STRETCH_YEARS / years);
    return stretch > 1.0 ? stretch < BAND_STRETCH_MAX ? stretch : BAND_STRETCH_MAX : 1.0;
}
#define BAND_BLOCK 16   /* accounts that share a band of their own, and blocks that are compared at once */
#define BAND_WAITING 32 /* blocks fetched before the first is looked into */

/* Bands of the accounts that stand on the same anchor and depend on the same change since it. A block holds
 * where all of its accounts' bands hold; unused places hold always. */
typedef struct {
    uint32_t count;     /* accounts */
    uint32_t room;      /* a multiple of BAND_BLOCK * BAND_BLOCK */
    uint32_t *account;  /* [room] */
    float *low;         /* [room] lowest index price */
    float *high;        /* [room] highest */
    float *reach;       /* [room] most change */
    float *block_low;   /* [room / BAND_BLOCK] */
    float *block_high;
    float *block_reach;
} BandCell;

/* Black-76, undiscounted, at zero rate. Per unit of forward, vol (fraction) and year. */
typedef struct {
    double price, delta, gamma, vega, theta, rho;
} Greeks;

#endif
