// Raw values to what an input takes, and what an output gives to what it stands for; `end` is of signature.json.
import java.io.File
import java.nio.ByteBuffer
import kotlin.math.round
import org.json.JSONObject

/** A raw value as an integer of an input; only where `quantization` of it is not null. A half becomes the even one. */
fun toInput(end: JSONObject, value: Float): Int {
    val by = end.getJSONObject("quantization")
    val limits = when (end.getString("dtype")) {
        "int8" -> -128L..127L
        "uint8" -> 0L..255L
        else -> -32768L..32767L
    }
    val steps = round(value / by.getDouble("scale").toFloat()).toLong()
    return (steps + by.getLong("zero_point")).coerceIn(limits).toInt()
}

/** What an integer of an output stands for; anything else as it is. */
fun fromOutput(end: JSONObject, value: Double): Float {
    val by = end.optJSONObject("quantization") ?: return value.toFloat()
    return (value - by.getInt("zero_point")).toFloat() * by.getDouble("scale").toFloat()
}

/** The name of the class with the highest value, of one sample; null: the output has no such. */
fun answer(bundle: File, end: JSONObject, found: ByteBuffer): String? {
    if (end.optString("task") != "classification" || !end.has("labels")) return null
    val names = File(bundle, end.getString("labels")).readText().removeSuffix("\n").split("\n")
    val dtype = end.getString("dtype")
    return names.indices.maxByOrNull { fromOutput(end, value(dtype, found, it * bytesOf(dtype))) }?.let { names[it] }
}

fun bytesOf(dtype: String): Int = when (dtype) { "int8", "uint8" -> 1; "int16" -> 2; "int64" -> 8; else -> 4 }

fun value(dtype: String, from: ByteBuffer, at: Int): Double = when (dtype) {
    "float32" -> from.getFloat(at).toDouble()
    "int8" -> from.get(at).toDouble()
    "uint8" -> (from.get(at).toInt() and 0xff).toDouble()
    "int16" -> from.getShort(at).toDouble()
    "int32" -> from.getInt(at).toDouble()
    "int64" -> from.getLong(at).toDouble()
    else -> error("no value of the type $dtype")
}
