/* One value of a result vector as a value of its own (see the header). The engine's own getters on results are not used: they crash on some
 * types. Runs in the worker. */
#include "engine/vector_value.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

static duckdb_value decimal_value(duckdb_logical_type type, const void *data, idx_t row)
{
    duckdb_decimal d = {.width = duckdb_decimal_width(type), .scale = duckdb_decimal_scale(type)};
    int64_t small;
    switch (duckdb_decimal_internal_type(type)) {
    case DUCKDB_TYPE_SMALLINT: small = ((const int16_t *)data)[row]; break;
    case DUCKDB_TYPE_INTEGER: small = ((const int32_t *)data)[row]; break;
    case DUCKDB_TYPE_BIGINT: small = ((const int64_t *)data)[row]; break;
    default: d.value = ((const duckdb_hugeint *)data)[row]; return duckdb_create_decimal(d);
    }
    d.value = (duckdb_hugeint){.lower = (uint64_t)small, .upper = small < 0 ? -1 : 0};
    return duckdb_create_decimal(d);
}

static duckdb_value enum_value(duckdb_logical_type type, const void *data, idx_t row)
{
    switch (duckdb_enum_internal_type(type)) {
    case DUCKDB_TYPE_UTINYINT: return duckdb_create_enum_value(type, ((const uint8_t *)data)[row]);
    case DUCKDB_TYPE_USMALLINT: return duckdb_create_enum_value(type, ((const uint16_t *)data)[row]);
    default: return duckdb_create_enum_value(type, ((const uint32_t *)data)[row]);
    }
}

/* Stored with a head of 3 bytes (sign and length), the number's bytes turned over when it is negative. */
static duckdb_value bignum_value(const uint8_t *bytes, uint32_t len)
{
    if (len < 4)
        return NULL;
    bool negative = !(bytes[0] & 0x80);
    uint8_t *number = malloc(len - 3);
    CHECK(number);
    for (uint32_t i = 3; i < len; i++)
        number[i - 3] = negative ? (uint8_t)~bytes[i] : bytes[i];
    duckdb_value v = duckdb_create_bignum((duckdb_bignum){number, len - 3, negative});
    free(number);
    return v;
}

/* NULL for every other type before a byte is looked at: their vectors hold no strings, or nothing at all (VARIANT is stored as a struct). */
static duckdb_value bytes_value(duckdb_type id, const duckdb_string_t *s)
{
    if (id != DUCKDB_TYPE_VARCHAR && id != DUCKDB_TYPE_BLOB && id != DUCKDB_TYPE_BIT && id != DUCKDB_TYPE_BIGNUM)
        return NULL;
    const char *bytes = duckdb_string_t_data((duckdb_string_t *)s);
    uint32_t len = duckdb_string_t_length(*s);
    if (id == DUCKDB_TYPE_VARCHAR)
        return duckdb_create_varchar_length(bytes, len);
    if (id == DUCKDB_TYPE_BLOB)
        return duckdb_create_blob((const uint8_t *)bytes, len);
    if (id == DUCKDB_TYPE_BIT)
        return duckdb_create_bit((duckdb_bit){(uint8_t *)bytes, len});
    return bignum_value((const uint8_t *)bytes, len);
}

/* The UUID's vector form has its highest bit turned over, so that it sorts as a signed number. */
static duckdb_value uuid_value(duckdb_hugeint h) { return duckdb_create_uuid((duckdb_uhugeint){h.lower, (uint64_t)h.upper ^ (1ull << 63)}); }

static duckdb_value scalar_value(duckdb_logical_type type, duckdb_type id, const void *data, idx_t row)
{
#define CASE(id_, ctype, make) \
    case DUCKDB_TYPE_##id_: return make(((const ctype *)data)[row])
    switch (id) {
        CASE(BOOLEAN, bool, duckdb_create_bool);
        CASE(TINYINT, int8_t, duckdb_create_int8);
        CASE(SMALLINT, int16_t, duckdb_create_int16);
        CASE(INTEGER, int32_t, duckdb_create_int32);
        CASE(BIGINT, int64_t, duckdb_create_int64);
        CASE(UTINYINT, uint8_t, duckdb_create_uint8);
        CASE(USMALLINT, uint16_t, duckdb_create_uint16);
        CASE(UINTEGER, uint32_t, duckdb_create_uint32);
        CASE(UBIGINT, uint64_t, duckdb_create_uint64);
        CASE(HUGEINT, duckdb_hugeint, duckdb_create_hugeint);
        CASE(UHUGEINT, duckdb_uhugeint, duckdb_create_uhugeint);
        CASE(FLOAT, float, duckdb_create_float);
        CASE(DOUBLE, double, duckdb_create_double);
        CASE(DATE, duckdb_date, duckdb_create_date);
        CASE(TIME, duckdb_time, duckdb_create_time);
        CASE(TIME_NS, duckdb_time_ns, duckdb_create_time_ns);
        CASE(TIME_TZ, duckdb_time_tz, duckdb_create_time_tz_value);
        CASE(TIMESTAMP, duckdb_timestamp, duckdb_create_timestamp);
        CASE(TIMESTAMP_TZ, duckdb_timestamp, duckdb_create_timestamp_tz);
        CASE(TIMESTAMP_S, duckdb_timestamp_s, duckdb_create_timestamp_s);
        CASE(TIMESTAMP_MS, duckdb_timestamp_ms, duckdb_create_timestamp_ms);
        CASE(TIMESTAMP_NS, duckdb_timestamp_ns, duckdb_create_timestamp_ns);
        CASE(INTERVAL, duckdb_interval, duckdb_create_interval);
        CASE(UUID, duckdb_hugeint, uuid_value);
    case DUCKDB_TYPE_DECIMAL: return decimal_value(type, data, row);
    case DUCKDB_TYPE_ENUM: return enum_value(type, data, row);
    default: return bytes_value(id, (const duckdb_string_t *)data + row);
    }
#undef CASE
}

static void values_free(duckdb_value *values, idx_t count)
{
    for (idx_t i = 0; i < count; i++)
        if (values[i])
            duckdb_destroy_value(&values[i]);
    free(values);
}

/* rows first..first+count-1 of the vector. NULL when one has no conversion. */
static duckdb_value *values_of(duckdb_logical_type type, duckdb_vector vector, idx_t first, idx_t count)
{
    duckdb_value *values = calloc(count ? count : 1, sizeof *values);
    CHECK(values);
    for (idx_t i = 0; i < count; i++) {
        values[i] = vector_value(type, vector, first + i);
        if (!values[i]) {
            values_free(values, count);
            return NULL;
        }
    }
    return values;
}

static duckdb_value list_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    const duckdb_list_entry *entry = (const duckdb_list_entry *)duckdb_vector_get_data(vector) + row;
    duckdb_logical_type child = duckdb_list_type_child_type(type);
    duckdb_value *values = values_of(child, duckdb_list_vector_get_child(vector), entry->offset, entry->length);
    duckdb_value v = values ? duckdb_create_list_value(child, values, entry->length) : NULL;
    if (values)
        values_free(values, entry->length);
    duckdb_destroy_logical_type(&child);
    return v;
}

static duckdb_value array_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    idx_t size = duckdb_array_type_array_size(type);
    duckdb_logical_type child = duckdb_array_type_child_type(type);
    duckdb_value *values = values_of(child, duckdb_array_vector_get_child(vector), row * size, size);
    duckdb_value v = values ? duckdb_create_array_value(child, values, size) : NULL;
    if (values)
        values_free(values, size);
    duckdb_destroy_logical_type(&child);
    return v;
}

static duckdb_value struct_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    idx_t count = duckdb_struct_type_child_count(type);
    duckdb_value *values = calloc(count, sizeof *values);
    CHECK(values);
    bool ok = true;
    for (idx_t i = 0; ok && i < count; i++) {
        duckdb_logical_type child = duckdb_struct_type_child_type(type, i);
        values[i] = vector_value(child, duckdb_struct_vector_get_child(vector, i), row);
        ok = values[i] != NULL;
        duckdb_destroy_logical_type(&child);
    }
    duckdb_value v = ok ? duckdb_create_struct_value(type, values) : NULL;
    values_free(values, count);
    return v;
}

static duckdb_value map_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    const duckdb_list_entry *entry = (const duckdb_list_entry *)duckdb_vector_get_data(vector) + row;
    duckdb_vector pairs = duckdb_list_vector_get_child(vector);
    duckdb_logical_type key_type = duckdb_map_type_key_type(type), value_type = duckdb_map_type_value_type(type);
    duckdb_value *keys = values_of(key_type, duckdb_struct_vector_get_child(pairs, 0), entry->offset, entry->length);
    duckdb_value *values = values_of(value_type, duckdb_struct_vector_get_child(pairs, 1), entry->offset, entry->length);
    duckdb_value v = keys && values ? duckdb_create_map_value(type, keys, values, entry->length) : NULL;
    if (keys)
        values_free(keys, entry->length);
    if (values)
        values_free(values, entry->length);
    duckdb_destroy_logical_type(&key_type);
    duckdb_destroy_logical_type(&value_type);
    return v;
}

/* A union is stored as a struct whose first field is the tag. */
static duckdb_value union_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    uint8_t tag = ((const uint8_t *)duckdb_vector_get_data(duckdb_struct_vector_get_child(vector, 0)))[row];
    duckdb_logical_type member = duckdb_union_type_member_type(type, tag);
    duckdb_value inner = vector_value(member, duckdb_struct_vector_get_child(vector, 1u + tag), row);
    duckdb_value v = inner ? duckdb_create_union_value(type, tag, inner) : NULL;
    if (inner)
        duckdb_destroy_value(&inner);
    duckdb_destroy_logical_type(&member);
    return v;
}

duckdb_value vector_value(duckdb_logical_type type, duckdb_vector vector, idx_t row)
{
    uint64_t *valid = duckdb_vector_get_validity(vector);
    duckdb_type id = duckdb_get_type_id(type);
    if (id == DUCKDB_TYPE_SQLNULL || (valid && !duckdb_validity_row_is_valid(valid, row)))
        return duckdb_create_null_value();
    switch (id) {
    case DUCKDB_TYPE_LIST: return list_value(type, vector, row);
    case DUCKDB_TYPE_ARRAY: return array_value(type, vector, row);
    case DUCKDB_TYPE_STRUCT: return struct_value(type, vector, row);
    case DUCKDB_TYPE_MAP: return map_value(type, vector, row);
    case DUCKDB_TYPE_UNION: return union_value(type, vector, row);
    default: return scalar_value(type, id, duckdb_vector_get_data(vector), row);
    }
}
